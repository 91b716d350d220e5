//! The IEs of TS 29.244 Release 17, table 8.1.2-1, with what their values are made of (clause 8.2).

mod from_0;
mod from_100;
mod from_200;
mod from_300;

use super::ie::Definition;

/// Definitions by hundreds: a definition's place within its part is its code modulo 100.
pub(super) static TABLE: [&[Definition]; 4] = [from_0::IES, from_100::IES, from_200::IES, from_300::IES];

/// The name of a field.
macro_rules! label {
    ($name:literal) => {
        const { &crate::decode::pfcp::layout::Label::new($name) }
    };
}

/// An octet of flags, from bit 1 up.
macro_rules! flags {
    ($($name:literal),* $(,)?) => {
        Field::Octet { flags: &[$(label!($name)),*], parts: &[] }
    };
}

/// An octet of small numbers: name, lowest bit counted from 0, width and what they mean.
macro_rules! parts {
    ($(($name:literal, $shift:literal, $width:literal, $names:expr)),* $(,)?) => {
        Field::Octet { flags: &[], parts: &[$(Part { name: label!($name), shift: $shift, width: $width, names: $names }),*] }
    };
}

/// One row: code, name, and `group`, `opaque` or its fields.
macro_rules! ie {
    ($code:literal, $name:literal, group) => {
        ie!($code, $name, Body::Group, None)
    };
    ($code:literal, $name:literal, opaque) => {
        ie!($code, $name, Body::Opaque, None)
    };
    ($code:literal, $name:literal, [$($field:expr),* $(,)?]) => {
        ie!($code, $name, Body::Fields(&[$($field),*]), crate::decode::pfcp::layout::enough(&[$($field),*]))
    };
    ($code:literal, $name:literal, $body:expr, $enough:expr) => {
        Definition {
            code: $code,
            name: $name,
            body: $body,
            head: concat!("{\"type\":", $code, ",\"name\":\"", $name, "\""),
            enough: $enough,
        }
    };
}

use {flags, ie, label, parts};
