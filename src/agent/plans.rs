//! What the kernel side of each source is made of: its object, the ways of hooking that are tried, the
//! kinds of its records and the errors that it counts (the numbers stand in bpf/<source>.bpf.c).

use super::loader::Hooks;
use crate::kernel::abi;
use crate::kernel::load::{Plan, Variant};

pub fn plan(hooks: Hooks) -> &'static Plan {
    match hooks {
        Hooks::Exec => &EXEC,
        Hooks::Flows => &FLOWS,
    }
}

/// Number and name of each kind of record: `kind` of tawon_bpf_records_total.
pub fn kinds(hooks: Hooks) -> &'static [(u16, &'static str)] {
    match hooks {
        Hooks::Exec => &[(1, "fork"), (2, "exec"), (3, "exit"), (4, "rename"), (5, "thread"), (6, "thread_exit")],
        Hooks::Flows => &[
            (1, "connected"),
            (2, "arrived"),
            (3, "claimed"),
            (4, "ended"),
            (5, "datagram"),
            (6, "released"),
            (7, "listening"),
            (8, "unlistened"),
            (9, "open"),
        ],
    }
}

/// Program and reason of each error, in the order of its number.
pub fn errors(hooks: Hooks) -> &'static [(&'static str, &'static str)] {
    match hooks {
        Hooks::Exec => &[
            ("tawon_newtask", "output"),
            ("tawon_sched_exec", "output"),
            ("tawon_sched_exit", "output"),
            ("tawon_rename", "output"),
            ("tawon_newtask", "watch_map_full"),
            ("tawon_sched_exec", "watch_map_full"),
            ("tawon_sched_exec", "args_unreadable"),
            ("tawon_sched_exec", "scratch"),
        ],
        Hooks::Flows => &[
            ("tawon_set_state", "output"),
            ("tawon_send_reset", "output"),
            ("tawon_destroy_sock", "output"),
            ("tawon_accept4", "output"),
            ("tawon_ingress", "output"),
            ("tawon_sent", "output"),
            ("tawon_sock_release", "output"),
            ("tawon_set_state", "socket_map_full"),
            ("tawon_accept4", "socket_map_full"),
            ("tawon_ingress", "peer_map_full"),
            ("tawon_sent", "socket_map_full"),
        ],
    }
}

static SHARED: &[&str] = &["tawon_watched", "tawon_default", "tawon_sockets"];

static EXEC: Plan = Plan {
    module: "exec",
    object: abi::EXEC,
    shared: SHARED,
    variants: &[Variant { name: "tp_btf", without: &[], optional: &[], misses: "" }],
};

const OWNERS_BY_FENTRY: &[&str] =
    &["tawon_udp_sendmsg", "tawon_udpv6_sendmsg", "tawon_udp_recvmsg", "tawon_udpv6_recvmsg"];

const FLOWS_OPTIONAL: &[(&str, &str)] = &[
    ("tawon_accept4", "who accepts with accept4(2): tracefs is not there or not readable"),
    ("tawon_accept", "who accepts with accept(2): tracefs is not there or not readable"),
    ("tawon_egress", "UDP: needs CAP_NET_ADMIN and a cgroup version 2 hierarchy"),
    ("tawon_ingress", "UDP: needs CAP_NET_ADMIN and a cgroup version 2 hierarchy"),
    ("tawon_sock_release", "the end of UDP flows at close: needs CAP_NET_ADMIN and a cgroup version 2 hierarchy"),
];

static FLOWS: Plan = Plan {
    module: "flows",
    object: abi::FLOWS,
    shared: SHARED,
    variants: &[
        Variant {
            name: "sock_send_length",
            without: OWNERS_BY_FENTRY,
            optional: FLOWS_OPTIONAL,
            misses: "UDP counts datagrams that arrived, also if nobody read them; accepts by 32-bit programs and io_uring are nobody's",
        },
        Variant {
            name: "fentry",
            without: &["tawon_sent", "tawon_received"],
            optional: FLOWS_OPTIONAL,
            misses: "UDP counts datagrams that arrived, also if nobody read them; accepts by 32-bit programs and io_uring are nobody's",
        },
        Variant {
            name: "fentry, no socket iterator",
            without: &["tawon_sent", "tawon_received", "tawon_existing"],
            optional: FLOWS_OPTIONAL,
            misses: "connections that were open before the agent are seen only when they are accepted or end",
        },
        Variant {
            name: "TCP alone",
            without: &[
                "tawon_egress",
                "tawon_ingress",
                "tawon_sock_release",
                "tawon_sent",
                "tawon_received",
                "tawon_udp_sendmsg",
                "tawon_udpv6_sendmsg",
                "tawon_udp_recvmsg",
                "tawon_udpv6_recvmsg",
            ],
            optional: FLOWS_OPTIONAL,
            misses: "UDP: needs CAP_NET_ADMIN",
        },
    ],
};
