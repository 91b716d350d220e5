//! `Meta`: which groups of process, container and pod a directive wants attached, and how they are written.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Caps, Container, Pod, Process};
use crate::task::record::{Base64, Hex64};
use crate::time::Timestamp;

/// A set of fields, one bit each, of the groups `process`, `container`, `pod` and `interface`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Meta(u32);

impl Meta {
    pub const NONE: Meta = Meta(0);
    pub const PROCESS: Meta = Meta::bits(0, 12);
    pub const CONTAINER: Meta = Meta::bits(12, 4);
    pub const POD: Meta = Meta::bits(16, 5);
    pub const INTERFACE: Meta = Meta::bits(21, 3);
    pub const INTERFACE_NAME: Meta = Meta::bits(21, 1);
    pub const INTERFACE_INDEX: Meta = Meta::bits(22, 1);
    pub const INTERFACE_ADDRS: Meta = Meta::bits(23, 1);

    /// Parses `process.min+pod`, `all`, `process.name`. The error names the word and the known ones.
    pub fn parse(text: &str) -> Result<Meta, String> {
        let mut set = 0;
        for word in text.split('+').map(str::trim).filter(|word| !word.is_empty()) {
            let before = set;
            for (bit, field) in FIELDS.iter().enumerate() {
                let wanted = match word.split_once('.') {
                    None => word == "all" || word == field.group,
                    Some(("all", "min")) => field.min,
                    Some((group, "min")) => group == field.group && field.min,
                    Some((group, name)) => group == field.group && name == field.name,
                };
                set |= u32::from(wanted) << bit;
            }
            if set == before && !Self::known(word) {
                return Err(format!(
                    "unknown meta {word:?}; known are all, all.min, process, container, pod, interface, each with .min or one field as in process.name"
                ));
            }
        }
        Ok(Meta(set))
    }

    /// Whether any of these fields is in the set.
    pub const fn any(self, fields: Meta) -> bool {
        self.0 & fields.0 != 0
    }

    const fn bits(from: u32, count: u32) -> Meta {
        Meta(((1 << count) - 1) << from)
    }

    fn known(word: &str) -> bool {
        word == "all"
            || word == "all.min"
            || FIELDS.iter().any(|field| match word.split_once('.') {
                None => word == field.group,
                Some((group, "min")) => group == field.group,
                Some((group, name)) => group == field.group && name == field.name,
            })
    }
}

/// The `process` group as a directive wants it: an object of the selected fields that are known.
#[derive(Clone, Copy)]
pub struct ProcessView<'a> {
    pub process: &'a Process,
    /// The thread that did what the record tells of.
    pub tid: Option<u32>,
    pub meta: Meta,
}

impl Serialize for ProcessView<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let (process, meta) = (self.process, self.meta);
        let mut map = to.serialize_map(None)?;
        if meta.any(PID) {
            map.serialize_entry("pid", &process.pid)?;
        }
        if meta.any(PPID) && process.ppid != 0 {
            map.serialize_entry("ppid", &process.ppid)?;
        }
        if let Some(tid) = self.tid.filter(|_| meta.any(TID)) {
            map.serialize_entry("tid", &tid)?;
        }
        for (field, name, encoded, value) in [
            (NAME, "name", "nameBase64", &process.name),
            (EXE, "exe", "exeBase64", &process.exe),
            (CWD, "cwd", "cwdBase64", &process.cwd),
        ] {
            if meta.any(field) && !value.is_empty() {
                text_entry(&mut map, name, encoded, value)?;
            }
        }
        if meta.any(CMD) && !process.cmd.is_empty() {
            map.serialize_entry("cmd", &Arguments(process))?;
        }
        if let Some(uid) = process.uid.filter(|_| meta.any(UID)) {
            map.serialize_entry("uid", &uid)?;
        }
        if let Some(gid) = process.gid.filter(|_| meta.any(GID)) {
            map.serialize_entry("gid", &gid)?;
        }
        if meta.any(STARTED_AT) && process.started_at != 0 {
            map.serialize_entry("startedAt", &Timestamp(process.started_at))?;
        }
        if let Some(namespaces) = process.namespaces.filter(|_| meta.any(NS)) {
            map.serialize_entry("ns", &namespaces)?;
        }
        if let Some(caps) = process.caps.filter(|_| meta.any(CAPS)) {
            map.serialize_entry("caps", &caps)?;
        }
        map.end()
    }
}

/// argv as a list of texts; an argument that is not UTF-8 becomes `{"base64": "..."}`.
pub struct Arguments<'a>(pub &'a Process);

impl Serialize for Arguments<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.args().map(Argument))
    }
}

struct Argument<'a>(&'a [u8]);

impl Serialize for Argument<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => to.serialize_str(text),
            Err(_) => {
                let mut map = to.serialize_map(Some(1))?;
                map.serialize_entry("base64", &Base64(self.0))?;
                map.end()
            }
        }
    }
}

/// The `container` group.
#[derive(Clone, Copy)]
pub struct ContainerView<'a> {
    pub container: &'a Container,
    pub meta: Meta,
}

impl Serialize for ContainerView<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let (container, meta) = (self.container, self.meta);
        let mut map = to.serialize_map(None)?;
        if meta.any(CONTAINER_ID) {
            map.serialize_entry("id", &container.id)?;
        }
        for (field, name, value) in
            [(CONTAINER_NAME, "name", &container.name), (CONTAINER_IMAGE, "image", &container.image)]
        {
            if let Some(value) = value.as_ref().filter(|_| meta.any(field)) {
                map.serialize_entry(name, value)?;
            }
        }
        if meta.any(CONTAINER_LABELS) && !container.labels.is_empty() {
            map.serialize_entry("labels", &Labels(&container.labels))?;
        }
        map.end()
    }
}

/// The `pod` group.
#[derive(Clone, Copy)]
pub struct PodView<'a> {
    pub pod: &'a Pod,
    pub meta: Meta,
}

impl Serialize for PodView<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let (pod, meta) = (self.pod, self.meta);
        let mut map = to.serialize_map(None)?;
        if meta.any(POD_ID) {
            map.serialize_entry("id", &pod.id)?;
        }
        for (field, name, value) in
            [(POD_NAME, "name", &pod.name), (POD_NAMESPACE, "namespace", &pod.namespace), (POD_NODE, "node", &pod.node)]
        {
            if let Some(value) = value.as_ref().filter(|_| meta.any(field)) {
                map.serialize_entry(name, value)?;
            }
        }
        if meta.any(POD_LABELS) && !pod.labels.is_empty() {
            map.serialize_entry("labels", &Labels(&pod.labels))?;
        }
        map.end()
    }
}

struct Labels<'a>(&'a [(String, String)]);

impl Serialize for Labels<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

impl Serialize for Caps {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(2))?;
        map.serialize_entry("effective", &Hex64(self.effective))?;
        map.serialize_entry("permitted", &Hex64(self.permitted))?;
        map.end()
    }
}

/// The `process` group of a record, where a directive wants any of it.
pub fn process(process: &Process, tid: Option<u32>, meta: Meta) -> Option<ProcessView<'_>> {
    meta.any(Meta::PROCESS).then_some(ProcessView { process, tid, meta })
}

/// The `container` group of a record, where there is one and it is wanted.
pub fn container(process: &Process, meta: Meta) -> Option<ContainerView<'_>> {
    let container = process.container.as_deref().filter(|_| meta.any(Meta::CONTAINER))?;
    Some(ContainerView { container, meta })
}

/// The `pod` group of a record, where there is one and it is wanted.
pub fn pod(process: &Process, meta: Meta) -> Option<PodView<'_>> {
    let pod = process.pod.as_deref().filter(|_| meta.any(Meta::POD))?;
    Some(PodView { pod, meta })
}

/// Bytes that are most likely text: `{"base64": "..."}` where they are not UTF-8.
#[derive(Clone, Copy)]
pub struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    /// None where nothing is known.
    pub fn new(bytes: &'a [u8]) -> Option<Text<'a>> {
        (!bytes.is_empty()).then_some(Text(bytes))
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Argument(self.0).serialize(to)
    }
}

macro_rules! schemas {
    ($($name:ident $schema:tt)*) => {$(
        impl schemars::JsonSchema for $name<'_> {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($schema)
            }
        }
    )*};
}

schemas! {
    Text {"anyOf": [{"type": "string"}, {"type": "object", "required": ["base64"]}]}
    Arguments {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "object", "required": ["base64"]}]}}
    ProcessView {"type": "object", "properties": {
        "pid": {"type": "integer"}, "ppid": {"type": "integer"}, "tid": {"type": "integer"},
        "name": {"type": "string"}, "nameBase64": {"type": "string"},
        "exe": {"type": "string"}, "exeBase64": {"type": "string"},
        "cwd": {"type": "string"}, "cwdBase64": {"type": "string"},
        "cmd": {"type": "array"}, "uid": {"type": "integer"}, "gid": {"type": "integer"},
        "startedAt": {"type": "string", "format": "date-time"},
        "ns": {"type": "object", "properties": {
            "pid": {"type": "integer"}, "net": {"type": "integer"}, "mnt": {"type": "integer"},
            "user": {"type": "integer"}, "uts": {"type": "integer"}, "ipc": {"type": "integer"},
            "cgroup": {"type": "integer"}}, "additionalProperties": false},
        "caps": {"type": "object", "properties": {
            "effective": {"type": "string"}, "permitted": {"type": "string"}}, "additionalProperties": false}
    }, "additionalProperties": false}
    ContainerView {"type": "object", "properties": {
        "id": {"type": "string"}, "name": {"type": "string"}, "image": {"type": "string"},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}}
    }, "additionalProperties": false}
    PodView {"type": "object", "properties": {
        "id": {"type": "string"}, "name": {"type": "string"}, "namespace": {"type": "string"},
        "node": {"type": "string"}, "labels": {"type": "object", "additionalProperties": {"type": "string"}}
    }, "additionalProperties": false}
}

/// Writes bytes as text under `name`, or as base64 under `encoded` where they are not UTF-8.
pub fn text_entry<M: SerializeMap>(
    map: &mut M,
    name: &'static str,
    encoded: &'static str,
    bytes: &[u8],
) -> Result<(), M::Error> {
    match std::str::from_utf8(bytes) {
        Ok(text) => map.serialize_entry(name, text),
        Err(_) => map.serialize_entry(encoded, &Base64(bytes)),
    }
}

const PID: Meta = Meta::bits(0, 1);
const PPID: Meta = Meta::bits(1, 1);
const TID: Meta = Meta::bits(2, 1);
const NAME: Meta = Meta::bits(3, 1);
const EXE: Meta = Meta::bits(4, 1);
const CMD: Meta = Meta::bits(5, 1);
const CWD: Meta = Meta::bits(6, 1);
const UID: Meta = Meta::bits(7, 1);
const GID: Meta = Meta::bits(8, 1);
const STARTED_AT: Meta = Meta::bits(9, 1);
const NS: Meta = Meta::bits(10, 1);
const CAPS: Meta = Meta::bits(11, 1);
const CONTAINER_ID: Meta = Meta::bits(12, 1);
const CONTAINER_NAME: Meta = Meta::bits(13, 1);
const CONTAINER_IMAGE: Meta = Meta::bits(14, 1);
const CONTAINER_LABELS: Meta = Meta::bits(15, 1);
const POD_ID: Meta = Meta::bits(16, 1);
const POD_NAME: Meta = Meta::bits(17, 1);
const POD_NAMESPACE: Meta = Meta::bits(18, 1);
const POD_NODE: Meta = Meta::bits(19, 1);
const POD_LABELS: Meta = Meta::bits(20, 1);

struct Field {
    group: &'static str,
    name: &'static str,
    min: bool,
}

const fn field(group: &'static str, name: &'static str, min: bool) -> Field {
    Field { group, name, min }
}

static FIELDS: &[Field] = &[
    field("process", "pid", true),
    field("process", "ppid", false),
    field("process", "tid", false),
    field("process", "name", true),
    field("process", "exe", false),
    field("process", "cmd", false),
    field("process", "cwd", false),
    field("process", "uid", false),
    field("process", "gid", false),
    field("process", "startedAt", false),
    field("process", "ns", false),
    field("process", "caps", false),
    field("container", "id", true),
    field("container", "name", true),
    field("container", "image", false),
    field("container", "labels", false),
    field("pod", "id", false),
    field("pod", "name", true),
    field("pod", "namespace", true),
    field("pod", "node", false),
    field("pod", "labels", false),
    field("interface", "name", true),
    field("interface", "index", false),
    field("interface", "addrs", false),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_bits_stand_in_the_order_of_the_table() {
        for (text, meta) in [
            ("process", Meta::PROCESS),
            ("container", Meta::CONTAINER),
            ("pod", Meta::POD),
            ("interface", Meta::INTERFACE),
            ("process.caps", CAPS),
            ("process.startedAt", STARTED_AT),
            ("container.labels", CONTAINER_LABELS),
            ("pod.labels", POD_LABELS),
        ] {
            assert_eq!(Meta::parse(text), Ok(meta), "{text}");
        }
        assert_eq!(Meta::parse("process.min"), Ok(Meta(PID.0 | NAME.0)));
        assert_eq!(Meta::parse("pod.min+process.pid"), Ok(Meta(POD_NAME.0 | POD_NAMESPACE.0 | PID.0)));
        assert!(Meta::parse("process.colour").is_err());
        assert!(Meta::parse("all.min.min").is_err());
    }
}
