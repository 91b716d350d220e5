//! What follows the fixed part of an exec record: parts of the lengths that stand there, some of them paths.

/// The parts, one after the other.
pub(super) struct Parts<'a>(pub &'a [u8]);

impl<'a> Parts<'a> {
    pub fn take(&mut self, len: u16) -> &'a [u8] {
        let (part, rest) = self.0.split_at_checked(len.into()).unwrap_or((self.0, &[]));
        self.0 = rest;
        part
    }
}

/// Components, innermost first, each ended by a zero byte, to a path. Nothing where the last is not the root directory,
/// whose own name is a slash: what is left of a path that was cut would be another path.
pub(super) fn put_path(to: &mut Vec<u8>, components: &[u8]) {
    to.clear();
    let Some(components) = components.strip_suffix(b"\0") else { return };
    let mut components = components.rsplit(|&byte| byte == 0);
    if components.next() != Some(b"/") {
        return;
    }
    for component in components {
        if component != b"/" {
            to.push(b'/');
            to.extend_from_slice(component);
        }
    }
    if to.is_empty() {
        to.push(b'/');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_known_where_its_components_go_up_to_the_root() {
        for (components, path) in [
            (&b"true\0bin\0usr\0/\0"[..], &b"/usr/bin/true"[..]),
            (b"/\0", b"/"),
            (b"/\0/\0", b"/"),
            (b"memfd:x\0/\0", b"/memfd:x"),
            (b"true\0bin\0", b""),
            (b"true\0bin\0us", b""),
            (b"", b""),
        ] {
            let mut told = b"of another".to_vec();
            put_path(&mut told, components);
            assert_eq!(told.escape_ascii().to_string(), path.escape_ascii().to_string());
        }
    }
}
