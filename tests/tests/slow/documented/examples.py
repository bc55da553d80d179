"""Holds every example of a document against its schema, and names those that are something else.

    examples.py DOCUMENT
"""

import json
import sys

import jsonschema_rs

with open(sys.argv[1]) as file:
    document = json.load(file)

found, wrong = 0, []


def check(place, schema, example):
    global found
    found += 1
    whole = {**schema, "components": document["components"]}
    for error in jsonschema_rs.Draft202012Validator(whole).iter_errors(example):
        wrong.append(f"{place} at {list(error.instance_path)}: {error.message}")


for name, schema in document["components"]["schemas"].items():
    for example in schema.get("examples", []):
        check(name, {"$ref": f"#/components/schemas/{name}"}, example)
for path, item in document["paths"].items():
    for method, operation in item.items():
        for parameter in operation.get("parameters", []):
            if "example" in parameter:
                check(f"{method} {path} {parameter['name']}", parameter["schema"], parameter["example"])
        for status, answer in operation["responses"].items():
            for kind, content in answer.get("content", {}).items():
                if "example" in content:
                    check(f"{method} {path} {status} {kind}", content["schema"], content["example"])
for name, answer in document["components"]["responses"].items():
    for kind, content in answer["content"].items():
        check(f"{name} {kind}", content["schema"], content["example"])

print(f"{found} examples")
sys.exit("\n".join(wrong) if wrong else 0)
