//! Parses `/proc/<pid>/mountinfo` without accessing any file system.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// The id, unique among the current mounts.
    pub(super) id: u64,
    /// The device number: `259:2`.
    pub(super) device_number: String,
    /// The mounted directory of the file system.
    pub(super) root: String,
    /// The mount point, which may not be valid Unicode.
    pub(super) mount_point: PathBuf,
    pub(super) fstype: String,
    /// The mounted device: `/dev/sda1`, `server:/export`.
    pub(super) device: String,
    /// The options of the file system.
    pub(super) super_options: String,
    /// Whether the mount or the file system is read-only; a kernel that finds errors remounts the file system
    /// read-only.
    pub(super) is_read_only: bool,
}

/// Lines in another format are skipped.
pub(super) fn parse(text: &[u8]) -> Vec<Mount> {
    text.split(|byte| *byte == b'\n').filter_map(mount).collect()
}

/// `36 35 98:0 /root /mnt rw,noatime master:1 - ext3 /dev/root rw,errors=continue`: any number of optional
/// fields precede the hyphen.
fn mount(line: &[u8]) -> Option<Mount> {
    let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let id = text(words.next()?).parse().ok()?;
    let _parent = words.next()?;
    let device_number = text(words.next()?);
    let root = text(words.next()?);
    let mount_point = PathBuf::from(OsString::from_vec(unescape(words.next()?)));
    let options = text(words.next()?);
    words.find(|word| *word == b"-")?;
    let fstype = text(words.next()?);
    let rest: Vec<_> = words.collect();
    // A device without a name is an empty field, so only the options follow.
    let (device, super_options) = match rest.as_slice() {
        [] => return None,
        [options] => (String::new(), text(options)),
        [device, options, ..] => (text(device), text(options)),
    };
    let is_ro = |options: &str| options.split(',').any(|option| option == "ro");
    Some(Mount {
        id,
        device_number,
        root,
        mount_point,
        fstype,
        device,
        is_read_only: is_ro(&options) || is_ro(&super_options),
        super_options,
    })
}

fn text(word: &[u8]) -> String {
    String::from_utf8_lossy(&unescape(word)).into_owned()
}

/// The kernel escapes spaces, tabs, newlines, backslashes and `#` as three octal digits.
fn unescape(word: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, after)) = rest.split_first() {
        let octal = match after {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] if *first == b'\\' => {
                Some((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'))
            }
            _ => None,
        };
        plain.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { &after[3..] } else { after };
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> Mount {
        let mut mounts = parse(line.as_bytes());
        assert_eq!(mounts.len(), 1, "{line}");
        mounts.remove(0)
    }

    #[test]
    fn optional_fields_are_skipped() {
        for fields in ["", "shared:1 ", "shared:1 master:2 propagate_from:3 "] {
            let mount = one(&format!(
                "36 35 98:0 /mnt1 /mnt/a rw,noatime {fields}- ext3 /dev/root rw,errors=continue\n"
            ));
            assert_eq!((mount.id, mount.device_number.as_str()), (36, "98:0"));
            assert_eq!(
                (mount.root.as_str(), mount.mount_point.to_str()),
                ("/mnt1", Some("/mnt/a"))
            );
            assert_eq!((mount.fstype.as_str(), mount.device.as_str()), ("ext3", "/dev/root"));
            assert!(!mount.is_read_only);
        }
    }

    #[test]
    fn the_mount_or_its_file_system_may_be_read_only() {
        assert!(one("1 1 8:1 / / ro,noatime - ext4 /dev/sda1 rw").is_read_only);
        assert!(one("1 1 8:1 / / rw - ext4 /dev/sda1 ro,errors=remount-ro").is_read_only);
        assert!(!one("1 1 8:1 / / rw - ext4 /dev/sda1 rw,errors=remount-ro").is_read_only);
    }

    #[test]
    fn unusual_names_are_kept() {
        assert_eq!(
            one(r"1 1 0:9 / /a\040b\134c\011 rw - nfs srv:/x\043y rw").mount_point,
            PathBuf::from("/a b\\c\t")
        );
        assert_eq!(
            one(r"1 1 0:9 / /a\9b\04 rw - nfs srv:/x rw").mount_point,
            PathBuf::from(r"/a\9b\04")
        );
        assert_eq!(one("1 1 0:9 / /a rw - tmpfs  rw").device, "");
        let bytes = parse(b"1 1 0:9 / /a\xff rw - tmpfs none rw");
        assert_eq!(
            bytes[0].mount_point,
            PathBuf::from(OsString::from_vec(b"/a\xff".to_vec()))
        );
    }

    #[test]
    fn truncated_lines_are_skipped() {
        let whole = "36 35 98:0 / /mnt rw shared:1 - ext3 /dev/root rw";
        for (end, _) in whole.match_indices(' ').take(8) {
            assert_eq!(parse(&whole.as_bytes()[..end]), [], "{}", &whole[..end]);
        }
        assert_eq!(parse(b""), []);
        assert_eq!(parse(b"99999999999999999999 1 8:1 / / rw - ext4 /dev/sda1 rw"), []);
    }
}
