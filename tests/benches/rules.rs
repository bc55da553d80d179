//! Benchmarks of rules. Each result is compared with a baseline of the same run; `docs/PERFORMANCE.md` has the ratios.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use watchpost_policies::{Action, ArtefactKey, Digest, Label, Labels, Request, Rule, RuleModule, RuleSet, Snapshot};
use watchpost_role::Roles;
use watchpost_rule::{role, threshold};
use watchpost_tests::guests::{ALLOW_ALL, ROLE, THRESHOLD, engine, numbered, rule, rules};
use watchpost_tests::sample::{developer, file_systems, machine, sample, snapshot};
use watchpost_threshold::Thresholds;

/// The default thresholds without findings that are ok, of which there would be a hundred thousand.
const QUIET: &str = r#"{"thresholds": [{"metric": "disk", "warning": 80, "alert": 90, "quiet": true}]}"#;

fn deciding(c: &mut Criterion) {
    let engine = engine();
    let ours = rules(&engine, None, None);
    let yes = rules(&engine, None, Some(rule(&engine, ALLOW_ALL, "{}")));
    let report = ours.judge(&machine(95.0, 20.0, 10.0), None);
    let ada = developer("ada", "user");
    let request = Request::new(&ada, Action::SessionsRun);

    let mut group = c.benchmark_group("decide");
    let asked = native_request();
    let actions: Vec<String> = Action::ALL.iter().map(|action| action.to_string()).collect();
    let settings = role::check::<Roles>("{}", &actions)
        .expect("the defaults are legal")
        .settings;
    group.bench_function("native", |b| {
        b.iter(|| role::decide::<Roles>(asked.clone(), Vec::new(), &settings));
    });
    group.bench_function("a guest that does nothing", |b| {
        b.iter(|| yes.decide_uncached(black_box(&request), &report));
    });
    group.bench_function("the role rule, afresh", |b| {
        b.iter(|| ours.decide_uncached(black_box(&request), &report));
    });
    group.bench_function("the role rule, remembered", |b| {
        b.iter(|| ours.decide(black_box(&request), &report));
    });
    for (name, set) in [("a guest that does nothing", &yes), ("the role rule", &ours)] {
        for threads in [1, 2] {
            group.bench_function(format!("{name}, {threads} threads at once, each"), |b| {
                b.iter_custom(|count| on_threads(threads, count, || drop(set.decide_uncached(&request, &report))));
            });
        }
    }
    group.finish();
}

/// The time until each of `threads` threads has done `work` that many times.
fn on_threads(threads: usize, count: u64, work: impl Fn() + Sync) -> Duration {
    let barrier = Barrier::new(threads + 1);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                barrier.wait();
                (0..count).for_each(|_| work());
                barrier.wait();
            });
        }
        barrier.wait();
        let began = Instant::now();
        barrier.wait();
        began.elapsed()
    })
}

/// The same request in the types of the rule.
fn native_request() -> role::Request {
    let label = |name: &str, value: &str| role::Label {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    let certificate = role::Certificate {
        subject: "CN=ada,OU=user,O=Watchpost".to_owned(),
        subject_slash: "/O=Watchpost/OU=user/CN=ada".to_owned(),
        subject_attributes: vec![label("O", "Watchpost"), label("OU", "user"), label("CN", "ada")],
        issuer: "CN=Watchpost development CA,O=Watchpost".to_owned(),
        dns_names: Vec::new(),
        uris: Vec::new(),
        emails: Vec::new(),
        fingerprint: "0".repeat(64),
    };
    role::Request {
        identity: role::Identity::Certificate(certificate),
        action: "sessions.run".to_owned(),
        resource: String::new(),
        facts: Vec::new(),
        assigned_roles: vec!["user".to_owned()],
    }
}

fn judging(c: &mut Criterion) {
    let engine = engine();
    let quiet = rules(&engine, Some(rule(&engine, THRESHOLD, QUIET)), None);
    let mut group = c.benchmark_group("judge samples");
    group.sample_size(20);
    for count in [1000, 10_000, 100_000] {
        let snapshot = file_systems(count);
        assert!(quiet.judge(&snapshot, None).faults().is_empty());
        group.throughput(Throughput::Elements(count as u64));
        let native = native_round(&snapshot);
        let settings = threshold::check::<Thresholds>(QUIET)
            .expect("the settings are legal")
            .settings;
        group.bench_with_input(BenchmarkId::new("native", count), &native, |b, native| {
            let judge = |round| threshold::judge::<Thresholds>(round, &settings);
            b.iter_batched(|| native.clone(), judge, BatchSize::LargeInput);
        });
        group.bench_with_input(BenchmarkId::new("the rule", count), &snapshot, |b, snapshot| {
            b.iter(|| quiet.judge(snapshot, None));
        });
    }
    let everything = rules(&engine, None, None);
    let thousand = file_systems(1000);
    let last = everything.judge(&thousand, None);
    assert!(last.faults().is_empty());
    group.throughput(Throughput::Elements(1000));
    group.bench_function("the rule, a finding for each and the last ones shown/1000", |b| {
        b.iter(|| everything.judge(&thousand, Some(&last)));
    });
    group.finish();

    let shot = snapshot(
        (0..10_000)
            .map(|at| sample(&format!("metric_{:03}", at % 100), &[("at", &at.to_string())], 1.0, ""))
            .collect(),
        Vec::new(),
    );
    let mut group = c.benchmark_group("judge 10000 samples by rules that each name a hundred of them");
    group.sample_size(20);
    for count in [1, 10, 100] {
        let watching = |number| {
            let settings = format!(r#"{{"metrics": ["metric_{number:03}"]}}"#);
            rule(&engine, &numbered(number), &settings)
        };
        let many: Vec<Rule> = (0..count).map(watching).collect();
        let set = RuleSet::new(1, many, rule(&engine, ROLE, "{}")).expect("the rules make a set");
        assert_eq!(set.judge(&shot, None).findings().len(), count);
        group.throughput(Throughput::Elements(count as u64));
        group.bench_with_input(BenchmarkId::from_parameter(count), &set, |b, set| {
            b.iter(|| set.judge(&shot, None));
        });
    }
    group.finish();
}

/// The same snapshot in the types of the rule.
fn native_round(snapshot: &Snapshot) -> threshold::Round {
    let labels = |labels: &Labels| {
        let label = |label: &Label| threshold::Label {
            name: label.name.clone(),
            value: label.value.clone(),
        };
        labels.as_slice().iter().map(label).collect()
    };
    let samples = snapshot.samples().iter().map(|sample| threshold::Sample {
        labels: labels(sample.labels()),
        value: sample.value(),
        time_ms: sample.time_ms(),
    });
    threshold::Round {
        host: snapshot.host().to_owned(),
        time_ms: snapshot.time_ms(),
        facts: Vec::new(),
        metrics: vec![threshold::Metric {
            name: "disk".to_owned(),
            unit: "percent".to_owned(),
            samples: samples.collect(),
        }],
        gaps: Vec::new(),
        last: Vec::new(),
    }
}

fn compiling(c: &mut Criterion) {
    let engine = engine();
    let key = ArtefactKey::new([7; 32]);
    let module = RuleModule::compile(&engine, THRESHOLD).expect("the rule is taken");
    let artefact = module.artefact(&key).expect("it can be kept");
    let mut group = c.benchmark_group("load the threshold rule");
    group.sample_size(20);
    group.bench_function("compiling it", |b| b.iter(|| RuleModule::compile(&engine, THRESHOLD)));
    group.bench_function("from its artefact", |b| {
        b.iter(|| RuleModule::load(&engine, Digest::of(THRESHOLD), &artefact, &key));
    });
    group.finish();
}

criterion_group!(benches, deciding, judging, compiling);
criterion_main!(benches);
