"""Uses the client that a generator made from the document: it reads the status, the history and the rules, reports and
changes chunks, and handles errors.

    client.py BASE CA CERTIFICATE KEY
"""

import ssl
import sys

from watchpost_client import Client
from watchpost_client.api.chunks import change_chunk, chunk, chunks, report_chunks
from watchpost_client.api.machine import report, snapshot, status
from watchpost_client.api.history import history
from watchpost_client.api.rules import rule, rule_versions, rules, set_rule_settings
from watchpost_client.api.service import whoami
from watchpost_client.models import ChunkChange, ChunkReport, ChunkStatus, ImageRange, Mode, Problem, RuleSettings

base, ca, certificate, key = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.load_cert_chain(certificate, key)
client = Client(base_url=base, verify_ssl=context, raise_on_unexpected_status=True)

me = whoami.sync(client=client)
assert me.identity.kind == "certificate" and "admin" in me.roles, me

now = status.sync(client=client)
assert now.ready and now.round_.number >= 1 and now.listeners, now
assert {rule.name for rule in now.rules.rules} == {"threshold", "role"}, now.rules
assert now.tasks["collector"].state == "running", now.tasks

shot = snapshot.sync(client=client)
memory = [sample for sample in shot.samples if sample.metric == "memory"]
assert memory and 0 < memory[0].value <= 100, memory
assert report.sync(client=client).host == shot.host == now.host

past = history.sync(client=client, metric="memory", from_="-1h", step="1m")
assert past.series and past.series[0].points[0][1] > 0, past
wrong = history.sync(client=client, metric="memory", from_="yesterday")
assert isinstance(wrong, Problem) and "an age such as -1h" in wrong.detail, wrong

work = ChunkReport(job_id=7, chunk_index=0, image_range=ImageRange(start=0, end=99))
made = report_chunks.sync(client=client, body=work)
assert made.created and made.status == "pending", made
both = report_chunks.sync(client=client, body=[work, ChunkReport(job_id=7, chunk_index=1, image_range=ImageRange(start=100, end=199))])
assert [one.created for one in both.chunks] == [False, True], both
changed = change_chunk.sync(made.id, client=client, body=ChunkChange(status=ChunkStatus.PROCESSING))
assert changed.status == "processing" and chunk.sync(made.id, client=client) == changed
assert [one.id for one in chunks.sync(client=client, status=ChunkStatus.PROCESSING).chunks] == [made.id]
illegal = change_chunk.sync_detailed(made.id, client=client, body=ChunkChange(priority=11))
assert illegal.status_code == 400 and "from 0 to 10" in illegal.parsed.detail, illegal

overview = rules.sync(client=client)
assert {line.name: line.mode for line in overview.active} == {"threshold": Mode.ACTIVE, "role": Mode.ACTIVE}, overview
assert rule.sync("threshold", client=client).settings_schema
assert rule_versions.sync("threshold", client=client).versions[0].built_in
settings = RuleSettings.from_dict({"thresholds": [{"metric": "memory", "warning": 1}]})
done = set_rule_settings.sync("threshold", client=client, body=settings, note="by a generated client")
assert done.changed and done.generation == overview.generation + 1, done
behind = set_rule_settings.sync_detailed("threshold", client=client, body=settings, if_match=f'"{overview.generation}"')
assert behind.status_code == 412, behind
