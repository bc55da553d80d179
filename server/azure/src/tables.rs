//! The built-in metrics per resource type, and those that Azure does not offer. Names, aggregations and units
//! are those of Azure's documentation as of July 2026.

use watchpost_policies::MetricName;

use super::settings::{Aggregation, Mapping, Transform};
use Aggregation::{Average, Total};
use Transform::{Complement, Identity};

/// The metrics of a resource type.
pub(crate) struct Table {
    pub(crate) kind: &'static str,
    built_in: &'static [(&'static str, &'static str, Aggregation, Transform)],
    /// Metrics that Azure does not offer for this type, with the reason.
    pub(crate) absent: &'static [(&'static str, &'static str)],
}

/// The resource types with built-in metrics.
static TABLES: [Table; 2] = [
    Table {
        kind: "Microsoft.Compute/virtualMachines",
        // Totals are per interval of one minute.
        built_in: &[
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
        built_in: &[
            ("cpu", "CpuPercentage", Average, Identity),
            ("memory", "MemoryPercentage", Average, Identity),
            ("azure_disk_queue", "DiskQueueLength", Average, Identity),
            ("azure_http_queue", "HttpQueueLength", Average, Identity),
            ("azure_received_bytes", "BytesReceived", Total, Identity),
            ("azure_sent_bytes", "BytesSent", Total, Identity),
        ],
        absent: &[(
            "disk",
            "Azure has no metric for the used space of an App Service plan; map `disk` to a custom metric in \
             azure.metrics",
        )],
    },
];

/// The table of this resource type.
pub(crate) fn table(kind: &str) -> Option<&'static Table> {
    TABLES.iter().find(|table| table.kind.eq_ignore_ascii_case(kind))
}

/// The resource types that have built-in metrics.
pub fn resource_types() -> impl Iterator<Item = &'static str> {
    TABLES.iter().map(|table| table.kind)
}

/// The built-in metrics of this resource type.
pub fn built_in(kind: &str) -> Vec<Mapping> {
    let Some(table) = table(kind) else {
        return Vec::new();
    };
    let mapping = |&(metric, name, aggregation, transform): &(&str, &str, Aggregation, Transform)| Mapping {
        metric: MetricName::new(metric).expect("the tables contain legal names, which a test checks"),
        name: name.to_owned(),
        namespace: Some(table.kind.to_owned()),
        kind: Some(table.kind.to_owned()),
        aggregation,
        transform,
        unit: None,
        filter: None,
        labels: Vec::new(),
    };
    table.built_in.iter().map(mapping).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_in_the_tables_are_legal_and_unique() {
        for table in &TABLES {
            let mut names: Vec<_> = built_in(table.kind).into_iter().map(|mapping| mapping.metric).collect();
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
    fn types_are_case_insensitive_and_unknown_ones_have_no_metrics() {
        assert_eq!(
            built_in("microsoft.compute/VIRTUALMACHINES").len(),
            TABLES[0].built_in.len()
        );
        assert_eq!(built_in("Microsoft.Sql/servers"), []);
    }
}
