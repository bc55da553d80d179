//! The properties of a disk from the database of udev, in which containers and small systems have nothing.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::{HostOptions, read};

pub(super) struct Udev(PathBuf);

/// Empty where udev does not know the disk.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct DiskProperties {
    pub(super) model: String,
    pub(super) path: String,
    pub(super) revision: String,
    pub(super) serial: String,
    pub(super) wwn: String,
}

impl Udev {
    pub(super) fn new(options: &HostOptions) -> Self {
        Self(options.rootfs.join("run/udev/data"))
    }

    /// The properties of the block device with these numbers.
    pub(super) fn disk(&self, major: u32, minor: u32) -> DiskProperties {
        parse(&self.0.join(format!("b{major}:{minor}")))
    }
}

/// Parses lines such as `E:ID_MODEL=Samsung_SSD_980`.
fn parse(file: &Path) -> DiskProperties {
    let text = read::trimmed(file).unwrap_or_default();
    let pairs = text.lines().filter_map(|line| line.strip_prefix("E:")?.split_once('='));
    let properties: HashMap<&str, &str> = pairs.collect();
    let of = |keys: &[&str]| {
        let found = keys.iter().find_map(|key| properties.get(key));
        read::cut(found.copied().unwrap_or_default(), MAX_PROPERTY_BYTES)
    };
    DiskProperties {
        model: of(&["ID_MODEL"]),
        path: of(&["ID_PATH"]),
        revision: of(&["ID_REVISION"]),
        // The first is the number that is printed on the disk.
        serial: of(&["SCSI_IDENT_SERIAL", "ID_SERIAL_SHORT"]),
        wwn: of(&["ID_WWN"]),
    }
}

/// All labels of a series share one kilobyte.
const MAX_PROPERTY_BYTES: usize = 150;

#[cfg(test)]
mod tests {
    use super::super::fixture::Machine;
    use super::*;

    #[test]
    fn a_disk_has_the_properties_that_udev_knows() {
        let text = "S:disk/by-id/x\nI:123\nE:ID_MODEL=SSD_980\nE:ID_PATH=pci-0000:00:1f.2-ata-1\n\
                    E:ID_SERIAL_SHORT=S64\nE:ID_WWN=0x5002538e\nE:ID_REVISION\nG:systemd\n";
        let machine = Machine::new().with("run/udev/data/b8:0", text);
        let udev = Udev::new(&machine.options());
        let disk = udev.disk(8, 0);
        assert_eq!((disk.model.as_str(), disk.serial.as_str()), ("SSD_980", "S64"));
        assert_eq!(
            (disk.path.as_str(), disk.revision.as_str()),
            ("pci-0000:00:1f.2-ata-1", "")
        );
        assert_eq!(disk.wwn, "0x5002538e");
        machine.write(
            "run/udev/data/b8:0",
            "E:ID_SERIAL_SHORT=S64\nE:SCSI_IDENT_SERIAL=printed\n",
        );
        assert_eq!(udev.disk(8, 0).serial, "printed");
        assert_eq!(udev.disk(8, 16), DiskProperties::default());
    }
}
