//! The metrics that everybody wants of the types of resources that we know, and those that Azure does not have. Names,
//! aggregations and units are Azure's own, of its documentation of July 2026.

use watchpost_policies::MetricName;

use super::settings::{Aggregation, Mapping, Transform};
use Aggregation::{Average, Total};
use Transform::{Complement, Identity};

/// What is known of a type of resources.
pub(super) struct Table {
    pub(super) kind: &'static str,
    ready: &'static [(&'static str, &'static str, Aggregation, Transform)],
    /// Metrics of ours that Azure does not have, and why.
    pub(super) absent: &'static [(&'static str, &'static str)],
}

/// The types that we know.
static TABLES: [Table; 2] = [
    Table {
        kind: "Microsoft.Compute/virtualMachines",
        // Totals are of one interval, a minute.
        ready: &[
            ("cpu", "Percentage CPU", Average, Identity),
            ("memory", "Available Memory Percentage", Average, Complement),
            (
                "azure_memory_available_bytes",
                "Available Memory Bytes",
                Average,
                Identity,
            ),
            ("azure_network_received_bytes", "Network In Total", Total, Identity),
            ("azure_network_sent_bytes", "Network Out Total", Total, Identity),
            ("azure_disk_read_bytes", "Disk Read Bytes", Total, Identity),
            ("azure_disk_written_bytes", "Disk Write Bytes", Total, Identity),
            (
                "azure_disk_reads_per_second",
                "Disk Read Operations/Sec",
                Average,
                Identity,
            ),
            (
                "azure_disk_writes_per_second",
                "Disk Write Operations/Sec",
                Average,
                Identity,
            ),
            ("azure_os_disk_queue", "OS Disk Queue Depth", Average, Identity),
            ("azure_available", "VmAvailabilityMetric", Average, Identity),
        ],
        absent: &[(
            "disk",
            "Azure has no platform metric for the used space of a machine's disks; map `disk` to a metric of the \
             guest agent in azure.metrics, or run Watchpost on the machine",
        )],
    },
    Table {
        kind: "Microsoft.Web/serverfarms",
        ready: &[
            ("cpu", "CpuPercentage", Average, Identity),
            ("memory", "MemoryPercentage", Average, Identity),
            ("azure_disk_queue", "DiskQueueLength", Average, Identity),
            ("azure_http_queue", "HttpQueueLength", Average, Identity),
            ("azure_received_bytes", "BytesReceived", Total, Identity),
            ("azure_sent_bytes", "BytesSent", Total, Identity),
        ],
        absent: &[(
            "disk",
            "Azure has no metric for the used space of an App Service plan; map `disk` to one of your own in \
             azure.metrics",
        )],
    },
];

/// What is known of this type.
pub(super) fn table(kind: &str) -> Option<&'static Table> {
    TABLES.iter().find(|table| table.kind.eq_ignore_ascii_case(kind))
}

/// The ready metrics of this type.
pub fn ready(kind: &str) -> Vec<Mapping> {
    let Some(table) = table(kind) else {
        return Vec::new();
    };
    let mapping = |&(metric, name, aggregation, transform): &(&str, &str, Aggregation, Transform)| Mapping {
        metric: MetricName::new(metric).expect("the tables hold legal names, and a test reads all"),
        name: name.to_owned(),
        namespace: Some(table.kind.to_owned()),
        kind: Some(table.kind.to_owned()),
        aggregation,
        transform,
        unit: None,
        filter: None,
        labels: Vec::new(),
    };
    table.ready.iter().map(mapping).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_hold_legal_names_and_each_once() {
        for table in &TABLES {
            let mut names: Vec<_> = ready(table.kind).into_iter().map(|mapping| mapping.metric).collect();
            for (absent, _) in table.absent {
                names.push(MetricName::new(absent).expect(absent));
            }
            names.sort();
            let count = names.len();
            names.dedup();
            assert_eq!(names.len(), count, "{}", table.kind);
        }
    }

    #[test]
    fn a_type_is_known_in_any_case_and_others_have_no_metrics() {
        assert_eq!(ready("microsoft.compute/VIRTUALMACHINES").len(), TABLES[0].ready.len());
        assert_eq!(ready("Microsoft.Sql/servers"), []);
    }
}
