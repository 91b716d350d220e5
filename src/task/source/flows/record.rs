//! The `flow` record.

use std::fmt;
use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::pipeline::Record;
use crate::process::metadata::{ContainerView, PodView, ProcessView, Text};
use crate::task::Kind;
use crate::task::record::{Hex64, Net, json_into};
use crate::time::Timestamp;

/// A TCP or UDP flow that started, goes on or ended, seen from one socket.
#[derive(Serialize, JsonSchema)]
pub struct FlowRecord<'a> {
    #[serde(rename = "flowID")]
    pub flow: Hex64,
    pub state: State,
    #[serde(rename = "tsNs")]
    pub ts_ns: u64,
    /// The same on the kernel's monotonic clock.
    #[serde(rename = "monoNs")]
    pub mono_ns: u64,
    #[serde(rename = "startedAt", skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    #[serde(rename = "establishedAt", skip_serializing_if = "Option::is_none")]
    pub established_at: Option<Timestamp>,
    #[serde(rename = "endedAt", skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<Way>,
    #[serde(flatten)]
    pub statistics: Option<Statistics>,
    #[serde(rename = "closeReason", skip_serializing_if = "Option::is_none")]
    pub close_reason: Option<CloseReason>,
    /// With closeReason `error`: what the socket's owner would get.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub congestion: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie: Option<Hex64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub net: Option<Net>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodView<'a>>,
}

/// Payload bytes each once, whatever was retransmitted.
#[derive(Clone, Copy, Default, Serialize, JsonSchema)]
pub struct Statistics {
    #[serde(rename = "bytesRX")]
    pub bytes_rx: u64,
    #[serde(rename = "bytesTX")]
    pub bytes_tx: u64,
    #[serde(rename = "segsRX")]
    pub segs_rx: u32,
    #[serde(rename = "segsTX")]
    pub segs_tx: u32,
    #[serde(rename = "retransTX", skip_serializing_if = "Option::is_none")]
    pub retrans_tx: Option<u32>,
    #[serde(rename = "rttUs", skip_serializing_if = "Option::is_none")]
    pub rtt_us: Option<u32>,
    #[serde(rename = "minRttUs", skip_serializing_if = "Option::is_none")]
    pub min_rtt_us: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Started,
    Ongoing,
    Ended,
}

impl State {
    pub const fn name(self) -> &'static str {
        match self {
            State::Started => "started",
            State::Ongoing => "ongoing",
            State::Ended => "ended",
        }
    }
}

/// Who opened it: `outbound` is this socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    Inbound,
    Outbound,
}

impl Way {
    /// TAWON_OUTBOUND, TAWON_INBOUND.
    pub fn from_kernel(direction: u8) -> Option<Way> {
        match direction {
            1 => Some(Way::Outbound),
            2 => Some(Way::Inbound),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CloseReason {
    Fin,
    RstSent,
    RstReceived,
    Timeout,
    Aborted,
    NeverAccepted,
    Error,
}

/// As it is serialised.
impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl CloseReason {
    /// TAWON_CLOSE_*.
    pub fn from_kernel(reason: u8) -> Option<CloseReason> {
        Some(match reason {
            1 => CloseReason::Fin,
            2 => CloseReason::RstSent,
            3 => CloseReason::RstReceived,
            4 => CloseReason::Timeout,
            5 => CloseReason::Aborted,
            6 => CloseReason::NeverAccepted,
            7 => CloseReason::Error,
            _ => return None,
        })
    }
}

impl Record for FlowRecord<'_> {
    fn kind(&self) -> Kind {
        Kind::Flow
    }

    fn json(&self, out: &mut Vec<u8>) {
        json_into(self, out);
    }

    fn text(&self, out: &mut Vec<u8>) {
        use std::io::Write as _;
        // Writing into memory cannot fail.
        let _ = write!(out, "{}", self.state.name());
        if let Some(view) = &self.process {
            let _ = write!(out, " {}[{}]", String::from_utf8_lossy(&view.process.name), view.process.pid);
        }
        if let Some(net) = &self.net {
            let arrow = match self.direction {
                Some(Way::Inbound) => "<-",
                Some(Way::Outbound) => "->",
                None => "--",
            };
            let proto = crate::task::record::proto_name(net.proto).unwrap_or("?");
            let _ = match net.local {
                Some(local) => write!(out, " {proto} {}", SocketAddr::new(local.to_canonical(), net.local_port)),
                None => write!(out, " {proto} *:{}", net.local_port),
            };
            let peer = SocketAddr::new(net.peer.ip().to_canonical(), net.peer.port());
            let _ = write!(out, " {arrow} {peer}");
        }
        if let Some(statistics) = &self.statistics {
            let _ = write!(out, " rx={} tx={}", statistics.bytes_rx, statistics.bytes_tx);
        }
        if let Some(reason) = self.close_reason {
            let _ = write!(out, " {reason}");
        }
        if let Some(errno) = self.errno {
            let _ = write!(out, " errno={errno}");
        }
        let _ = write!(out, " flow={:016x}", self.flow.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_addresses_and_reasons_as_they_are_written_elsewhere() {
        let record = FlowRecord {
            flow: Hex64(0x23),
            state: State::Ended,
            ts_ns: 0,
            mono_ns: 0,
            started_at: None,
            established_at: None,
            ended_at: None,
            direction: Some(Way::Outbound),
            statistics: Some(Statistics { bytes_rx: 5, bytes_tx: 7, ..Statistics::default() }),
            close_reason: Some(CloseReason::RstReceived),
            errno: None,
            congestion: None,
            mark: None,
            cookie: None,
            net: Some(Net {
                local: Some("::1".parse().unwrap()),
                local_port: 42,
                peer: "[::ffff:10.0.0.7]:443".parse().unwrap(),
                proto: 6,
                netns: None,
                packet: false,
            }),
            process: None,
            container: None,
            pod: None,
        };
        let mut out = Vec::new();
        record.text(&mut out);
        let line = "ended TCP [::1]:42 -> 10.0.0.7:443 rx=5 tx=7 rst_received flow=0000000000000023";
        assert_eq!(String::from_utf8(out).unwrap(), line);
    }
}
