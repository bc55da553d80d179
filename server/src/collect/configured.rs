//! The sources that a server starts with: the probes of this machine, the work chunks, the rules themselves, and Azure
//! Monitor. The collector schedules them.

use std::collections::BTreeMap;

use super::blocking::Blocking;
use super::chunks::Chunks;
use super::host::{self, HostOptions};
use super::rules::Rules;
use super::source::{MakeSource, OwnSchedule, Schedule};
use crate::rules::quarantine::Quarantine;
use crate::rules::replication::Replication;
use crate::store::Store;
use watchpost_azure::{self as azure, Azure};

/// What is measured, and how often.
pub struct SourceOptions {
    /// The schedule of sources without one of their own.
    pub schedule: Schedule,
    /// The probes of this machine, if it is measured.
    pub host: Option<HostOptions>,
    /// The schedules of probes that have their own, by the name of the probe.
    pub probes: BTreeMap<String, OwnSchedule>,
    /// The database of the work chunks, if they are counted.
    pub chunks: Option<(Store, Schedule)>,
    /// Azure Monitor, if it is queried.
    pub azure: Option<(azure::Settings, Schedule)>,
}

/// The sources of these options, and that of the rules.
pub fn sources(options: SourceOptions, replication: Replication, quarantine: Quarantine) -> Vec<MakeSource> {
    let SourceOptions {
        schedule,
        host,
        probes,
        chunks,
        azure,
    } = options;
    let mut sources = host.map_or_else(Vec::new, |host| host_sources(&host, schedule, &probes));
    if let Some((store, schedule)) = chunks {
        let probe = move || Box::new(Chunks::new(store.clone()));
        sources.push(Box::new(move || Box::new(Blocking::new(probe(), schedule))));
    }
    let probe = move || Box::new(Rules::new(replication.clone(), quarantine.clone()));
    sources.push(Box::new(move || Box::new(Blocking::new(probe(), schedule))));
    if let Some((settings, schedule)) = azure {
        sources.push(Box::new(move || Box::new(Azure::new(settings.clone(), schedule))));
    }
    sources
}

fn host_sources(options: &HostOptions, usual: Schedule, own: &BTreeMap<String, OwnSchedule>) -> Vec<MakeSource> {
    let probes = host::probes(options).into_iter().enumerate();
    let source = |(at, probe): (usize, Box<dyn super::probe::Probe>)| -> MakeSource {
        let own = own.get(probe.name());
        let schedule = own.map_or(usual, |own| own.schedule);
        let has_own_interval = own.is_some_and(|own| own.has_own_interval);
        let is_refreshable = host::is_refreshable(probe.name()) && !has_own_interval;
        let options = options.clone();
        let probe = move || host::probes(&options).swap_remove(at);
        Box::new(move || {
            let source = Blocking::new(probe(), schedule);
            Box::new(if is_refreshable { source.refreshable() } else { source })
        })
    };
    probes.map(source).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::collect::source::Source;
    use crate::rules::quarantine::QuarantineList;
    use crate::rules::registry::{of_store, store_in};

    const USUAL: Schedule = Schedule {
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(5),
    };
    const OWN: Schedule = Schedule {
        interval: Duration::from_secs(60),
        timeout: Duration::from_secs(20),
    };

    fn made(options: SourceOptions) -> Vec<Box<dyn Source>> {
        let folder = tempfile::tempdir().expect("a folder");
        let store = store_in(folder.path());
        let registry = of_store(&store);
        let replication = Replication::new(registry.clone(), None);
        let list = QuarantineList::new(store);
        let quarantine = Quarantine::new(registry, list, service_metrics());
        let sources = sources(options, replication, quarantine);
        sources.into_iter().map(|make| make()).collect()
    }

    /// The name and the schedule of each source.
    fn schedules(options: SourceOptions) -> BTreeMap<String, Schedule> {
        let of_source = |source: Box<dyn Source>| (source.name().to_owned(), source.schedule());
        made(options).into_iter().map(of_source).collect()
    }

    fn service_metrics() -> std::sync::Arc<crate::metrics::ServiceMetrics> {
        let build = crate::metrics::Build {
            version: "",
            commit: "",
            rustc: "",
        };
        std::sync::Arc::new(crate::metrics::ServiceMetrics::new(&build))
    }

    #[test]
    fn a_source_has_its_own_schedule_or_the_usual_one() {
        actix_web::rt::System::new().block_on(async {
            let folder = tempfile::tempdir().expect("a folder");
            let schedules = schedules(SourceOptions {
                schedule: USUAL,
                host: Some(HostOptions::default()),
                probes: BTreeMap::from([(
                    "host.memory".to_owned(),
                    OwnSchedule {
                        schedule: OWN,
                        has_own_interval: true,
                    },
                )]),
                chunks: Some((store_in(folder.path()), OWN)),
                azure: Some((azure::Settings::default(), OWN)),
            });
            for (name, expected) in [
                ("host.memory", OWN),
                ("host.cpu", USUAL),
                ("chunks", OWN),
                ("rules", USUAL),
                ("azure", OWN),
            ] {
                assert_eq!(schedules.get(name), Some(&expected), "{name}");
            }
            let probes = host::probe_names();
            assert!(probes.iter().all(|name| schedules.contains_key(*name)), "{schedules:?}");
        });
    }

    #[test]
    fn scrapes_measure_the_fast_probes_that_have_no_interval_of_their_own() {
        actix_web::rt::System::new().block_on(async {
            let folder = tempfile::tempdir().expect("a folder");
            let own = |name: &str, has_own_interval| {
                let own = OwnSchedule {
                    schedule: USUAL,
                    has_own_interval,
                };
                (name.to_owned(), own)
            };
            let sources = made(SourceOptions {
                schedule: USUAL,
                host: Some(HostOptions::default()),
                probes: BTreeMap::from([own("host.memory", true), own("host.load", false)]),
                chunks: Some((store_in(folder.path()), USUAL)),
                azure: Some((azure::Settings::default(), USUAL)),
            });
            for (name, expected) in [
                ("host.cpu", true),
                ("host.netstat", true),
                ("host.load", true),
                ("host.memory", false),
                ("host.filesystems", false),
                ("host.textfile", false),
                ("chunks", false),
                ("rules", false),
                ("azure", false),
            ] {
                let source = sources.iter().find(|source| source.name() == name);
                assert_eq!(source.expect(name).is_refreshable(), expected, "{name}");
            }
        });
    }

    #[test]
    fn only_the_rules_are_a_source_that_cannot_be_disabled() {
        actix_web::rt::System::new().block_on(async {
            let schedules = schedules(SourceOptions {
                schedule: USUAL,
                host: None,
                probes: BTreeMap::new(),
                chunks: None,
                azure: None,
            });
            assert_eq!(schedules, BTreeMap::from([("rules".to_owned(), USUAL)]));
        });
    }
}
