//! What the kernel side of each source is made of: its object, the ways of hooking that are tried, the
//! kinds of its records and the errors that it counts (the numbers stand in bpf/<source>.bpf.c).

use super::loader::Hooks;
use crate::kernel::abi;
use crate::kernel::features::{PREEMPTIBLE, SLEEPERS_RETURN};
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
            ("tawon_newtask", "watch_map_refused"),
            ("tawon_sched_exec", "watch_map_refused"),
            ("tawon_tasks", "watch_map_full"),
            ("tawon_tasks", "watch_map_refused"),
            ("tawon_sched_exit", "watch_map_refused"),
            ("tawon_sched_exec", "path_cut"),
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
            ("tawon_set_state", "socket_map_refused"),
            ("tawon_accept4", "socket_map_refused"),
            ("tawon_ingress", "peer_map_refused"),
            ("tawon_sent", "socket_map_refused"),
            ("tawon_ingress", "socket_map_full"),
            ("tawon_ingress", "socket_map_refused"),
            ("tawon_existing", "socket_map_full"),
            ("tawon_existing", "socket_map_refused"),
            ("tawon_set_state", "established_unseen"),
            ("tawon_set_state", "end_unseen"),
            ("tawon_gone", "end_unseen"),
        ],
    }
}

/// Programs that have copies for the events that they are left out of, in the order of their numbers.
fn copied(hooks: Hooks) -> &'static [(&'static str, &'static [&'static str])] {
    match hooks {
        Hooks::Exec => &[
            ("tawon_newtask", &["tawon_newtask_again"]),
            ("tawon_sched_exec", &["tawon_sched_exec_again"]),
            ("tawon_sched_exit", &["tawon_sched_exit_again", "tawon_sched_exit_third", "tawon_sched_exit_fourth"]),
            ("tawon_rename", &["tawon_rename_again"]),
        ],
        Hooks::Flows => &[
            ("tawon_set_state", &["tawon_set_state_again", "tawon_set_state_third", "tawon_set_state_fourth"]),
            ("tawon_send_reset", &["tawon_send_reset_again", "tawon_send_reset_third", "tawon_send_reset_fourth"]),
            (
                "tawon_receive_reset",
                &["tawon_receive_reset_again", "tawon_receive_reset_third", "tawon_receive_reset_fourth"],
            ),
            (
                "tawon_destroy_sock",
                &["tawon_destroy_sock_again", "tawon_destroy_sock_third", "tawon_destroy_sock_fourth"],
            ),
        ],
    }
}

/// How many events were missed by a program that the kernel left out of `left_out`: those that a copy acted for
/// are not, and what a copy is left out of somebody before it has acted for or is missed by it. `again` counts, by
/// the program's number, what its copies acted for.
pub fn missed(hooks: Hooks, program: &str, left_out: u64, again: impl Fn(u32) -> u64) -> u64 {
    let is = |(first, copies): (&str, &[&str])| first == program || copies.contains(&program);
    match copied(hooks).iter().zip(0..).find(|(names, _)| is(**names)) {
        None => left_out,
        Some(((first, _), number)) if program == *first => left_out.saturating_sub(again(number)),
        Some(_) => 0,
    }
}

static SHARED: &[&str] = &["tawon_watched", "tawon_default", "tawon_sockets"];

static EXEC: Plan = Plan {
    module: "exec",
    object: abi::EXEC,
    shared: SHARED,
    since: &[
        ("tawon_newtask_again", PREEMPTIBLE),
        ("tawon_sched_exec_again", PREEMPTIBLE),
        ("tawon_sched_exit_again", PREEMPTIBLE),
        ("tawon_sched_exit_third", PREEMPTIBLE),
        ("tawon_sched_exit_fourth", PREEMPTIBLE),
        ("tawon_rename_again", PREEMPTIBLE),
    ],
    variants: &[Variant { name: "tp_btf", without: &[], optional: &[], misses: "" }],
};

/// Programs of `flows` that do the same in different ways, or that a kernel or its privileges may not allow.
const ACCEPTED_BY_FEXIT: &[&str] = &["tawon_csk_accept"];
const OWNERS_BY_TRACEPOINT: &[&str] = &["tawon_sent", "tawon_received"];
const OWNERS_BY_FENTRY: &[&str] =
    &["tawon_udp_sendmsg", "tawon_udpv6_sendmsg", "tawon_udp_recvmsg", "tawon_udpv6_recvmsg"];
const EXISTING: &[&str] = &["tawon_existing"];
const DATAGRAMS: &[&str] = &["tawon_egress", "tawon_ingress", "tawon_sock_release"];

const ACCEPTS_ALONE: &[(&str, &str)] = &[
    ("tawon_accept4", "who accepts with accept4(2): tracefs is not there or not readable"),
    ("tawon_accept", "who accepts with accept(2): tracefs is not there or not readable"),
];
/// Beside fexit, which now and then comes too early.
const ACCEPTS_BESIDE: &[(&str, &str)] = &[
    ("tawon_accept4", "who accepted a few connections, until they are closed: tracefs is not there or not readable"),
    ("tawon_accept", "who accepted a few connections, until they are closed: tracefs is not there or not readable"),
];
const BY_CGROUP: &[(&str, &str)] = &[
    ("tawon_egress", "UDP: needs CAP_NET_ADMIN and a cgroup version 2 hierarchy"),
    ("tawon_ingress", "UDP: needs CAP_NET_ADMIN and a cgroup version 2 hierarchy"),
    ("tawon_sock_release", "the end of UDP flows at close: needs CAP_NET_ADMIN and a cgroup version 2 hierarchy"),
];

static FLOWS: Plan = Plan {
    module: "flows",
    object: abi::FLOWS,
    shared: SHARED,
    since: &[
        ("tawon_csk_accept", SLEEPERS_RETURN),
        ("tawon_set_state_third", PREEMPTIBLE),
        ("tawon_set_state_fourth", PREEMPTIBLE),
        ("tawon_send_reset_third", PREEMPTIBLE),
        ("tawon_send_reset_fourth", PREEMPTIBLE),
        ("tawon_receive_reset_third", PREEMPTIBLE),
        ("tawon_receive_reset_fourth", PREEMPTIBLE),
        ("tawon_destroy_sock_third", PREEMPTIBLE),
        ("tawon_destroy_sock_fourth", PREEMPTIBLE),
    ],
    variants: &[
        Variant {
            name: "fexit and sock_send_length",
            without: &[OWNERS_BY_FENTRY],
            optional: &[ACCEPTS_BESIDE, BY_CGROUP],
            misses: "UDP counts datagrams that arrived, also if nobody read them",
        },
        Variant {
            name: "sock_send_length",
            without: &[OWNERS_BY_FENTRY, ACCEPTED_BY_FEXIT],
            optional: &[ACCEPTS_ALONE, BY_CGROUP],
            misses: "UDP counts datagrams that arrived, also if nobody read them; accepts by 32-bit programs and io_uring are nobody's until they are closed",
        },
        Variant {
            name: "fexit and fentry",
            without: &[OWNERS_BY_TRACEPOINT],
            optional: &[ACCEPTS_BESIDE, BY_CGROUP],
            misses: "UDP counts datagrams that arrived, also if nobody read them",
        },
        Variant {
            name: "fexit and fentry, no socket iterator",
            without: &[OWNERS_BY_TRACEPOINT, EXISTING],
            optional: &[ACCEPTS_BESIDE, BY_CGROUP],
            misses: "connections that were open before the agent are seen only when they are accepted or end",
        },
        Variant {
            name: "TCP alone",
            without: &[ACCEPTED_BY_FEXIT, DATAGRAMS, OWNERS_BY_TRACEPOINT, OWNERS_BY_FENTRY],
            optional: &[ACCEPTS_ALONE, BY_CGROUP],
            misses: "UDP: needs CAP_NET_ADMIN",
        },
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_copy_was_run_for_is_not_missed() {
        let again = |pair| if pair == 3 { 20 } else { 0 };
        for (program, left_out, expected) in [
            ("tawon_destroy_sock", 23, 3),
            ("tawon_destroy_sock", 19, 0),
            ("tawon_destroy_sock_again", 5, 0),
            ("tawon_set_state_fourth", 5, 0),
            ("tawon_set_state", 5, 5),
            ("tawon_sent", 4, 4),
        ] {
            assert_eq!(missed(Hooks::Flows, program, left_out, again), expected, "{program}");
        }
        assert_eq!(missed(Hooks::Exec, "tawon_rename", 23, again), 3);
    }
}
