// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/* flows: when TCP connections and UDP exchanges begin and end. Nothing runs per segment; a datagram costs
 * one look-up and two additions. */
#include "lib/again.bpf.h"
#include "lib/tcp.bpf.h"
#include "lib/udp.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Programs that have copies; src/agent/plans.rs names them. */
#define COPIED_SET_STATE 0
#define COPIED_SEND_RESET 1
#define COPIED_RECEIVE_RESET 2
#define COPIED_DESTROY_SOCK 3

/* Since 5.12, where the kernel lets trampolines be made: whoever accepts, by whatever way. First, since a kernel
 * that does not then says so before it has looked at anything else. */
SEC("fexit/inet_csk_accept")
int tawon_csk_accept(__u64 *ctx)
{
	return accepted(ctx, csk_accepted(ctx));
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(tawon_set_state, const struct sock *sk, int old, int new)
{
	tawon_runs(ctx, COPIED_SET_STATE);
	return set_state(ctx, sk, old, new);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(tawon_set_state_again, const struct sock *sk, int old, int new)
{
	return tawon_left_out(ctx, COPIED_SET_STATE, tawon_config.preemptible) ? set_state(ctx, sk, old, new) : 0;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(tawon_set_state_third, const struct sock *sk, int old, int new)
{
	return tawon_left_out(ctx, COPIED_SET_STATE, 1) ? set_state(ctx, sk, old, new) : 0;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(tawon_set_state_fourth, const struct sock *sk, int old, int new)
{
	return tawon_left_out(ctx, COPIED_SET_STATE, 0) ? set_state(ctx, sk, old, new) : 0;
}

/* A copy of a program that is given a socket. */
#define TAWON_COPY(event, body, which, program, more)                        \
	SEC("tp_btf/" #event)                                                 \
	int BPF_PROG(tawon_##body##_##which, const struct sock *sk)           \
	{                                                                     \
		return tawon_left_out(ctx, program, more) ? body(ctx, sk) : 0; \
	}

SEC("tp_btf/tcp_send_reset")
int BPF_PROG(tawon_send_reset, const struct sock *sk)
{
	tawon_runs(ctx, COPIED_SEND_RESET);
	return send_reset(ctx, sk);
}

TAWON_COPY(tcp_send_reset, send_reset, again, COPIED_SEND_RESET, tawon_config.preemptible)
TAWON_COPY(tcp_send_reset, send_reset, third, COPIED_SEND_RESET, 1)
TAWON_COPY(tcp_send_reset, send_reset, fourth, COPIED_SEND_RESET, 0)

SEC("tp_btf/tcp_receive_reset")
int BPF_PROG(tawon_receive_reset, const struct sock *sk)
{
	tawon_runs(ctx, COPIED_RECEIVE_RESET);
	return receive_reset(ctx, sk);
}

TAWON_COPY(tcp_receive_reset, receive_reset, again, COPIED_RECEIVE_RESET, tawon_config.preemptible)
TAWON_COPY(tcp_receive_reset, receive_reset, third, COPIED_RECEIVE_RESET, 1)
TAWON_COPY(tcp_receive_reset, receive_reset, fourth, COPIED_RECEIVE_RESET, 0)

SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(tawon_destroy_sock, const struct sock *sk)
{
	tawon_runs(ctx, COPIED_DESTROY_SOCK);
	return destroy_sock(ctx, sk);
}

TAWON_COPY(tcp_destroy_sock, destroy_sock, again, COPIED_DESTROY_SOCK, tawon_config.preemptible)
TAWON_COPY(tcp_destroy_sock, destroy_sock, third, COPIED_DESTROY_SOCK, 1)
TAWON_COPY(tcp_destroy_sock, destroy_sock, fourth, COPIED_DESTROY_SOCK, 0)

/* The syscalls' exits: for what tawon_csk_accept was left out of or came too early for, and in its place where the
 * kernel refuses it. They miss 32-bit callers and io_uring, whose connections are then claimed when they are closed. */
SEC("tp/syscalls/sys_exit_accept4")
int tawon_accept4(struct trace_event_raw_sys_exit *ctx)
{
	return accepted(ctx, socket_of(ctx->ret));
}

SEC("tp/syscalls/sys_exit_accept")
int tawon_accept(struct trace_event_raw_sys_exit *ctx)
{
	return accepted(ctx, socket_of(ctx->ret));
}

/* sock_send_length and sock_recv_length, since 6.3: behind the operation, in its process. */
SEC("tp_btf/sock_send_length")
int BPF_PROG(tawon_sent, struct sock *sk, int ret)
{
	return ret < 0 ? 0 : owner(ctx, sk);
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(tawon_received, struct sock *sk, int ret)
{
	return ret < 0 ? 0 : owner(ctx, sk);
}

/* Before 6.3: the protocols' own functions, of which only the first argument is read. */
SEC("fentry/udp_sendmsg")
int BPF_PROG(tawon_udp_sendmsg, struct sock *sk)
{
	return owner(ctx, sk);
}

SEC("fentry/udpv6_sendmsg")
int BPF_PROG(tawon_udpv6_sendmsg, struct sock *sk)
{
	return owner(ctx, sk);
}

SEC("fentry/udp_recvmsg")
int BPF_PROG(tawon_udp_recvmsg, struct sock *sk)
{
	return owner(ctx, sk);
}

SEC("fentry/udpv6_recvmsg")
int BPF_PROG(tawon_udpv6_recvmsg, struct sock *sk)
{
	return owner(ctx, sk);
}

/* cgroup_skb at the root of the unified hierarchy, since 4.10: counts what arrives at the socket, also if
 * nobody reads it; sees the peer of every datagram, connected or not. */
SEC("cgroup_skb/egress")
int tawon_egress(struct __sk_buff *skb)
{
	return datagram(skb, 1);
}

SEC("cgroup_skb/ingress")
int tawon_ingress(struct __sk_buff *skb)
{
	return datagram(skb, 0);
}

/* cgroup/sock_release, since 5.9: the end of a UDP socket's flows. */
SEC("cgroup/sock_release")
int tawon_sock_release(struct bpf_sock *sk)
{
	struct tawon_flow *socket;
	__u64 key = (__u64)sk;

	if (sk->protocol != IPPROTO_UDP)
		return 1;
	socket = bpf_map_lookup_elem(&tawon_sockets, &key);
	if (!socket)
		return 1;
	if (socket->header.mask)
		send_claim(sk, socket, TAWON_FLOW_RELEASED, bpf_ktime_get_ns(), ERROR_RELEASE_OUTPUT);
	bpf_map_delete_elem(&tawon_sockets, &key);
	return 1;
}

/* Sockets that are there already: gives each that is connected an entry and tells user space. */
SEC("iter/task_file")
int tawon_existing(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct tawon_flow fresh = {};
	struct mptcp_sock *mptcp;
	struct tawon_flow *known;
	struct socket *socket;
	struct sock *sk;
	__u16 protocol, type;
	__u8 state;
	__u64 key;
	int error;

	if (!task || !file)
		return 0;
	socket = socket_from_file(file);
	if (!socket)
		return 0;
	sk = BPF_CORE_READ(socket, sk);
	if (!sk)
		return 0;
	protocol = BPF_CORE_READ(sk, sk_protocol);
	if (protocol == IPPROTO_MPTCP && bpf_core_type_exists(struct mptcp_sock)) {
		mptcp = (void *)sk;
		sk = BPF_CORE_READ(mptcp, first);
		protocol = IPPROTO_TCP;
		if (!sk)
			return 0;
	}
	fresh.family = BPF_CORE_READ(sk, __sk_common.skc_family);
	if (fresh.family != AF_INET && fresh.family != AF_INET6)
		return 0;
	/* A raw socket of the protocol is none of its sockets. */
	type = BPF_CORE_READ(sk, sk_type);
	key = (__u64)sk;
	state = BPF_CORE_READ(sk, __sk_common.skc_state);
	fresh.protocol = protocol;
	fresh.sock = key;
	fresh.tgid = BPF_CORE_READ(task, tgid);
	fresh.process_start = process_start(task);
	fresh.claimed = 1;
	fresh.header.mask = tawon_wanted(TAWON_FLOWS, fresh.tgid, fresh.process_start, &fresh.header.flags);
	if (!fresh.header.mask)
		return 0;
	if (protocol == IPPROTO_TCP && type == SOCK_STREAM && tawon_live.tcp) {
		if (state == TCP_LISTEN)
			fresh.listening = 1;
		else if (state == TCP_SYN_SENT)
			fresh.direction = TAWON_OUTBOUND;
		else if (state == TCP_CLOSE || state == TCP_TIME_WAIT)
			return 0;
		put_statistics(&fresh, sk);
	} else if (protocol == IPPROTO_UDP && type == SOCK_DGRAM && tawon_live.udp) {
		fresh.cookie = BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);
	} else {
		return 0;
	}
	put_addresses(&fresh, sk);
	fresh.header.time = bpf_ktime_get_ns();
	if (protocol == IPPROTO_UDP)
		fresh.sock = flow_number(fresh.header.time);
	fresh.header.size = sizeof(fresh);
	fresh.header.kind = fresh.listening ? TAWON_FLOW_LISTENING : TAWON_FLOW_OPEN;
	if (!fresh.listening)
		fresh.flow = flow_number(fresh.header.time);
	error = bpf_map_update_elem(&tawon_sockets, &key, &fresh, BPF_NOEXIST);
	if (error) {
		/* One that is known already, or that another descriptor has led to. */
		if (error != -EEXIST) {
			tawon_not_taken(error, ERROR_EXISTING_FULL, ERROR_EXISTING_REFUSED);
			return 0;
		}
		/* Of UDP it is kept while nobody wants it. Somebody may now. */
		known = protocol == IPPROTO_UDP ? bpf_map_lookup_elem(&tawon_sockets, &key) : NULL;
		if (known && known->claimed && !known->header.mask)
			known->header.mask = tawon_wanted(TAWON_FLOWS, known->tgid, known->process_start, &known->header.flags);
		return 0;
	}
	if (protocol == IPPROTO_TCP)
		bpf_map_delete_elem(&tawon_unwanted, &key);
	/* Whether it comes to a connection is told of then. */
	if (fresh.direction == TAWON_OUTBOUND)
		return 0;
	bpf_seq_write(ctx->meta->seq, &fresh, sizeof(fresh));
	return 0;
}

/* The statistics so far of every open connection, for `interval`. */
SEC("iter/bpf_map_elem")
int tawon_ongoing(struct bpf_iter__bpf_map_elem *ctx)
{
	struct tawon_flow *flow = ctx->value, copy;
	__u64 *key = ctx->key;

	if (!flow || !key)
		return 0;
	copy = *flow;
	if (copy.protocol != IPPROTO_TCP || copy.listening || copy.ended || !copy.header.mask)
		return 0;
	if (is_gone(&copy, (const struct sock *)*key))
		return 0;
	put_statistics(&copy, (const struct sock *)*key);
	copy.header.time = bpf_ktime_get_ns();
	copy.header.kind = TAWON_FLOW_OPEN;
	copy.header.size = sizeof(copy);
	bpf_seq_write(ctx->meta->seq, &copy, sizeof(copy));
	return 0;
}

/* Takes out connections whose sockets are no more, and tells of those whose end was not told: the kernel ran none of
 * the programs that would have seen it. */
SEC("iter/bpf_map_elem")
int tawon_gone(struct bpf_iter__bpf_map_elem *ctx)
{
	struct tawon_flow *flow = ctx->value, copy;
	__u64 *at = ctx->key, key;

	if (!flow || !at)
		return 0;
	copy = *flow;
	key = *at;
	if (copy.protocol != IPPROTO_TCP || !copy.flow || !is_gone(&copy, (const struct sock *)key))
		return 0;
	/* It may have come to its end just now, in order. */
	if (bpf_map_delete_elem(&tawon_sockets, &key) || (copy.ended && !copy.closed))
		return 0;
	tawon_count(TAWON_COUNT_ERROR + ERROR_GONE);
	if (copy.closed)
		settle_reason(&copy);
	copy.header.time = bpf_ktime_get_ns();
	copy.header.kind = TAWON_FLOW_ENDED;
	copy.header.size = sizeof(copy);
	bpf_seq_write(ctx->meta->seq, &copy, sizeof(copy));
	return 0;
}
