/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/* Sockets: the one table that says which flow a socket is, its addresses, its TCP statistics. */
#pragma once

#include "process.bpf.h"
#include <tawon/flows.h>

enum {
	TCP_ESTABLISHED = 1,
	TCP_SYN_SENT,
	TCP_SYN_RECV,
	TCP_FIN_WAIT1,
	TCP_FIN_WAIT2,
	TCP_TIME_WAIT,
	TCP_CLOSE,
	TCP_CLOSE_WAIT,
	TCP_LAST_ACK,
	TCP_LISTEN,
	TCP_CLOSING,
};

/* Key: address of the struct sock while it is alive. A plain hash, since tracepoint and cgroup programs
 * cannot reach socket storage from a descriptor; emptied by tcp_destroy_sock and cgroup/sock_release. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, struct tawon_flow);
} tawon_sockets SEC(".maps");

/* Sockets of TCP whose ends nobody wants, though there are directives that want those of every process: of the agent
 * itself, and what every filter keeps out. Where it is full, their ends are told of and thrown away there. Key: as
 * above; value: 1. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, __u8);
} tawon_unwanted SEC(".maps");

/* When the last flow of a CPU began, so that clocks which stand still for a while give no number twice. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} tawon_begun SEC(".maps");

/* Unique: nanoseconds since boot, and the CPU, since two may begin one in the same nanosecond. */
static __always_inline __u64 flow_number(__u64 now)
{
	__u32 zero = 0;
	__u64 *begun = bpf_map_lookup_elem(&tawon_begun, &zero);

	if (begun) {
		if (now <= *begun)
			now = *begun + 1;
		*begun = now;
	}
	return now << 10 | (bpf_get_smp_processor_id() & 0x3ff);
}

static __always_inline void put_mapped(__u8 to[16], __be32 address)
{
	__builtin_memset(to, 0, 10);
	to[10] = to[11] = 0xff;
	__builtin_memcpy(to + 12, &address, 4);
}

/* skc_num is 0 once the port was given back; inet_sport still stands. */
static __always_inline __u16 local_port(const struct sock *sk)
{
	const struct inet_sock *inet = (const void *)sk;
	__u16 port = BPF_CORE_READ(sk, __sk_common.skc_num);

	return port ? port : bpf_ntohs(BPF_CORE_READ(inet, inet_sport));
}

/* Addresses, ports and namespace as they stand now. */
static __always_inline void put_addresses(struct tawon_flow *flow, const struct sock *sk)
{
	flow->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	flow->netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	flow->peer_port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	flow->local_port = local_port(sk);
	if (flow->family == AF_INET6) {
		bpf_core_read(flow->local, 16, &sk->__sk_common.skc_v6_rcv_saddr);
		bpf_core_read(flow->peer, 16, &sk->__sk_common.skc_v6_daddr);
	} else {
		put_mapped(flow->local, BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr));
		put_mapped(flow->peer, BPF_CORE_READ(sk, __sk_common.skc_daddr));
	}
}

static __always_inline void put_statistics(struct tawon_flow *flow, const struct sock *sk)
{
	const struct tcp_sock *tcp = (const void *)sk;
	const struct inet_connection_sock *icsk = (const void *)sk;
	__u64 received = BPF_CORE_READ(tcp, bytes_received);
	__u64 sent = BPF_CORE_READ(tcp, bytes_sent) - BPF_CORE_READ(tcp, bytes_retrans);
	__u64 numbered = BPF_CORE_READ(tcp, bytes_acked) + (BPF_CORE_READ(tcp, snd_nxt) - BPF_CORE_READ(tcp, snd_una));

	/* What a device refuses to send counts as sent, each time it is tried. Then the sequence numbers that were used
	 * tell, without those of the SYN, which who accepts does not count, and of the FIN. */
	if (sent > numbered) {
		sent = numbered - (flow->direction != TAWON_INBOUND);
		if (BPF_CORE_READ(sk, sk_shutdown) & SEND_SHUTDOWN)
			sent--;
	}
	flow->bytes_tx = sent;
	/* The FIN's sequence number is counted with the bytes. */
	if (received && BPF_CORE_READ(sk, __sk_common.skc_flags) & (1UL << SOCK_DONE))
		received--;
	flow->bytes_rx = received;
	flow->segs_rx = BPF_CORE_READ(tcp, segs_in);
	flow->segs_tx = BPF_CORE_READ(tcp, segs_out);
	flow->retrans_tx = BPF_CORE_READ(tcp, total_retrans);
	flow->rtt_us = BPF_CORE_READ(tcp, srtt_us) >> 3;
	flow->min_rtt_us = BPF_CORE_READ(tcp, rtt_min.s[0].v);
	flow->mark = BPF_CORE_READ(sk, sk_mark);
	flow->cookie = BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);
	bpf_probe_read_kernel_str(flow->congestion, sizeof(flow->congestion), BPF_CORE_READ(icsk, icsk_ca_ops, name));
}

/* Whether the socket that this flow was of is no more: its memory is free, or is another's. */
static __always_inline int is_gone(const struct tawon_flow *flow, const struct sock *sk)
{
	if (!BPF_CORE_READ(sk, __sk_common.skc_refcnt.refs.counter))
		return 1;
	/* An end leaves no address for certain, and a connect has none yet. */
	if (flow->ended || !flow->peer_port)
		return 0;
	return BPF_CORE_READ(sk, __sk_common.skc_dport) != bpf_htons(flow->peer_port) ||
	       local_port(sk) != flow->local_port;
}

/* Makes the current thread, of process `start`, the owner. */
static __always_inline void put_owner(struct tawon_flow *flow, __u64 start)
{
	__u64 id = bpf_get_current_pid_tgid();

	flow->tgid = id >> 32;
	flow->tid = id;
	flow->process_start = start;
	flow->claimed = 1;
}

/* The socket behind a descriptor of the current process; the first subflow's behind an MPTCP one. */
static __always_inline struct sock *socket_of(int fd)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct file **files = BPF_CORE_READ(table, fd), *file = NULL;
	struct mptcp_sock *mptcp;
	struct socket *socket;
	struct sock *sk;

	if (fd < 0 || (__u32)fd >= BPF_CORE_READ(table, max_fds))
		return NULL;
	bpf_probe_read_kernel(&file, sizeof(file), files + fd);
	socket = BPF_CORE_READ(file, private_data);
	sk = BPF_CORE_READ(socket, sk);
	if (sk && BPF_CORE_READ(sk, sk_protocol) == IPPROTO_MPTCP && bpf_core_type_exists(struct mptcp_sock)) {
		mptcp = (void *)sk;
		sk = BPF_CORE_READ(mptcp, first);
	}
	return sk;
}
