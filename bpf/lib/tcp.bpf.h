/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/* TCP: from SYN to CLOSE, without anything per segment. */
#pragma once

#include "flow.bpf.h"

/* Why a connection that has reached CLOSE was closed, once nothing more is to come. */
static __always_inline void settle_reason(struct tawon_flow *flow)
{
	/* Only whoever accepted it can send a FIN; the listener's end resets what it never gave away. */
	if (!flow->claimed && flow->direction == TAWON_INBOUND && flow->reason != TAWON_CLOSE_FIN &&
	    flow->reset != TAWON_CLOSE_RST_RECEIVED)
		flow->reason = TAWON_CLOSE_NEVER_ACCEPTED;
	else if (flow->reset)
		flow->reason = flow->reset;
}

/* `ended` of a connection that has reached CLOSE, once. */
static __always_inline void send_ended(void *ctx, struct tawon_flow *flow, __u32 failed)
{
	if (!flow->closed)
		return;
	flow->closed = 0;
	settle_reason(flow);
	send_flow(ctx, flow, TAWON_FLOW_ENDED, bpf_ktime_get_ns(), failed);
}

/* Something begins at the address of a flow. Where that has not ended, neither its change to CLOSE nor the socket's
 * end was seen: what it did until then is not known any more. */
static __always_inline void send_replaced(void *ctx, struct tawon_flow *flow)
{
	if (flow->flow && !flow->ended) {
		tawon_count(TAWON_COUNT_ERROR + ERROR_STATE_REPLACED);
		send_flow(ctx, flow, TAWON_FLOW_ENDED, bpf_ktime_get_ns(), ERROR_STATE_OUTPUT);
		return;
	}
	send_ended(ctx, flow, ERROR_STATE_OUTPUT);
}

/* What a change to CLOSE says by itself; 0 where only what follows can tell (linger 0, unread data,
 * disconnect and abort all change the state first and send the reset then). */
static __always_inline __u8 close_reason(int error, int old)
{
	switch (error) {
	case 0:
		break;
	case ECONNREFUSED:
	case ECONNRESET:
	case EPIPE:
		return TAWON_CLOSE_RST_RECEIVED;
	case ETIMEDOUT:
		return TAWON_CLOSE_TIMEOUT;
	case ECONNABORTED:
		return TAWON_CLOSE_ABORTED;
	default:
		return TAWON_CLOSE_ERROR;
	}
	switch (old) {
	case TCP_FIN_WAIT1:
	case TCP_FIN_WAIT2:
	case TCP_CLOSING:
	case TCP_LAST_ACK:
	case TCP_TIME_WAIT:
		return TAWON_CLOSE_FIN;
	}
	return 0;
}

/* Directives that want the flows of every process. */
static __always_inline __u64 wanted_of_all(void)
{
	__u32 zero = 0;
	struct tawon_watch *fallback = bpf_map_lookup_elem(&tawon_default, &zero);

	return fallback ? fallback->mask[TAWON_FLOWS] : 0;
}

/* Nobody wants to be told of a socket's end. */
static __always_inline void unwanted(__u64 key)
{
	__u8 one = 1;

	if (wanted_of_all())
		bpf_map_update_elem(&tawon_unwanted, &key, &one, BPF_ANY);
}

/* The current task owns what nobody did. Whether anybody wants to know of it. */
static __always_inline int claimed(void *ctx, struct tawon_flow *flow, __u64 key, __u32 failed)
{
	__u64 start = process_start((void *)bpf_get_current_task());

	flow->header.mask = tawon_wanted(TAWON_FLOWS, bpf_get_current_pid_tgid() >> 32, start, &flow->header.flags);
	put_owner(flow, start);
	send_claim(ctx, flow, TAWON_FLOW_CLAIMED, bpf_ktime_get_ns(), failed);
	if (flow->header.mask)
		return 1;
	/* First, since it may end in between. */
	unwanted(key);
	bpf_map_delete_elem(&tawon_sockets, &key);
	return 0;
}

/* inet_sock_set_state, since 4.16: every change of a TCP socket's state. In the caller's context only for
 * connect, listen and close. */
static __always_inline int set_state(void *ctx, const struct sock *sk, int old, int new)
{
	__u64 now, start, key = (__u64)sk;
	struct tawon_flow *flow, fresh = {};
	__u16 flags = 0;
	__u32 tgid;
	int error;

	if (!tawon_live.tcp || BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP)
		return 0;

	if (new == TCP_CLOSE) {
		error = BPF_CORE_READ(sk, sk_err);
		flow = bpf_map_lookup_elem(&tawon_sockets, &key);
		if (!flow) {
			struct tawon_flow *unknown = &fresh;

			/* Of a socket whose end is wanted whoever owns it, and whose start was missed. */
			unknown->header.mask = wanted_of_all();
			if (!unknown->header.mask || old == TCP_LISTEN || old == TCP_SYN_SENT || old == TCP_CLOSE ||
			    old == TCP_SYN_RECV)
				return 0;
			if (!bpf_map_delete_elem(&tawon_unwanted, &key))
				return 0;
			now = bpf_ktime_get_ns();
			unknown->header.flags = TAWON_F_UNTRACKED;
			unknown->flow = flow_number(now);
			unknown->sock = key;
			unknown->protocol = IPPROTO_TCP;
			unknown->ended = now;
			unknown->reason = close_reason(error, old);
			put_addresses(unknown, sk);
			put_statistics(unknown, sk);
			send_flow(ctx, unknown, TAWON_FLOW_ENDED, now, ERROR_STATE_OUTPUT);
			return 0;
		}
		now = bpf_ktime_get_ns();
		if (flow->listening) {
			send_claim(ctx, flow, TAWON_FLOW_UNLISTENED, now, ERROR_STATE_OUTPUT);
			bpf_map_delete_elem(&tawon_sockets, &key);
			return 0;
		}
		/* What is closed was established, of which nothing was seen: no start was told of. */
		if (flow->direction == TAWON_OUTBOUND && !flow->established && old != TCP_SYN_SENT &&
		    old != TCP_SYN_RECV && old != TCP_CLOSE)
			tawon_count(TAWON_COUNT_ERROR + ERROR_STATE_MISSED);
		put_addresses(flow, sk);
		put_statistics(flow, sk);
		flow->ended = now;
		flow->error = error;
		flow->reason = close_reason(error, old);
		flow->closed = 1;
		/* Certain, and an owner is known: nothing that comes later would change the record. */
		if (flow->reason && flow->claimed)
			send_ended(ctx, flow, ERROR_STATE_OUTPUT);
		else if (!flow->reason)
			flow->reason = TAWON_CLOSE_ABORTED;
		return 0;
	}

	if (new == TCP_FIN_WAIT1 || new == TCP_LAST_ACK) {
		/* Of a connection that nobody was seen to accept (by io_uring, by a 32-bit program, in the middle of
		 * another's accept): only whoever did can close it, in whose context we are. */
		flow = bpf_map_lookup_elem(&tawon_sockets, &key);
		if (flow && !flow->claimed && flow->direction == TAWON_INBOUND)
			claimed(ctx, flow, key, ERROR_STATE_OUTPUT);
		return 0;
	}

	if (old == TCP_CLOSE && (new == TCP_SYN_SENT || new == TCP_LISTEN)) {
		now = bpf_ktime_get_ns();
		flow = bpf_map_lookup_elem(&tawon_sockets, &key);
		if (flow) {
			send_replaced(ctx, flow);
			bpf_map_delete_elem(&tawon_sockets, &key);
		}
		start = process_start((void *)bpf_get_current_task());
		tgid = bpf_get_current_pid_tgid() >> 32;
		fresh.header.mask = tawon_wanted(TAWON_FLOWS, tgid, start, &flags);
		if (!fresh.header.mask) {
			if (new == TCP_SYN_SENT)
				unwanted(key);
			return 0;
		}
		fresh.header.flags = flags;
		fresh.sock = key;
		fresh.protocol = IPPROTO_TCP;
		put_owner(&fresh, start);
		if (new == TCP_LISTEN) {
			fresh.listening = 1;
			put_addresses(&fresh, sk);
			send_flow(ctx, &fresh, TAWON_FLOW_LISTENING, now, ERROR_STATE_OUTPUT);
		} else {
			fresh.flow = flow_number(now);
			fresh.started = now;
			fresh.direction = TAWON_OUTBOUND;
		}
		error = bpf_map_update_elem(&tawon_sockets, &key, &fresh, BPF_ANY);
		if (error)
			tawon_not_taken(error, ERROR_STATE_FULL, ERROR_STATE_REFUSED);
		return 0;
	}

	if (old == TCP_SYN_SENT && new == TCP_ESTABLISHED) {
		flow = bpf_map_lookup_elem(&tawon_sockets, &key);
		if (!flow)
			return 0;
		flow->established = bpf_ktime_get_ns();
		put_addresses(flow, sk);
		flow->cookie = BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);
		flow->mark = BPF_CORE_READ(sk, sk_mark);
		send_flow(ctx, flow, TAWON_FLOW_CONNECTED, flow->established, ERROR_STATE_OUTPUT);
		return 0;
	}

	if (old == TCP_SYN_RECV && new == TCP_ESTABLISHED) {
		now = bpf_ktime_get_ns();
		flow = bpf_map_lookup_elem(&tawon_sockets, &key);
		if (flow && flow->direction == TAWON_OUTBOUND) {
			/* Both ends opened at once. */
			flow->established = now;
			put_addresses(flow, sk);
			send_flow(ctx, flow, TAWON_FLOW_CONNECTED, now, ERROR_STATE_OUTPUT);
			return 0;
		}
		if (flow)
			send_replaced(ctx, flow);
		fresh.flow = flow_number(now);
		fresh.header.mask = ~0ULL;
		fresh.header.flags = TAWON_F_PENDING;
		fresh.sock = key;
		fresh.protocol = IPPROTO_TCP;
		fresh.direction = TAWON_INBOUND;
		fresh.started = now;
		fresh.established = now;
		put_addresses(&fresh, sk);
		error = bpf_map_update_elem(&tawon_sockets, &key, &fresh, BPF_ANY);
		if (error) {
			tawon_not_taken(error, ERROR_STATE_FULL, ERROR_STATE_REFUSED);
			return 0;
		}
		send_flow(ctx, &fresh, TAWON_FLOW_ARRIVED, now, ERROR_STATE_OUTPUT);
	}
	return 0;
}

/* tcp_send_reset, since 4.15. With linger 0 or unread data it comes after the change to CLOSE. The socket
 * may be none, or one in TIME_WAIT, a request or a listener: none of those is in the table as a flow. */
static __always_inline int send_reset(void *ctx, const struct sock *sk)
{
	__u64 key = (__u64)sk;
	struct tawon_flow *flow = key ? bpf_map_lookup_elem(&tawon_sockets, &key) : NULL;

	if (!flow || flow->listening)
		return 0;
	if (!flow->reset)
		flow->reset = TAWON_CLOSE_RST_SENT;
	if (flow->claimed)
		send_ended(ctx, flow, ERROR_RESET_OUTPUT);
	return 0;
}

/* tcp_receive_reset, since 4.15: before the change to CLOSE. */
static __always_inline int receive_reset(void *ctx, const struct sock *sk)
{
	__u64 key = (__u64)sk;
	struct tawon_flow *flow = bpf_map_lookup_elem(&tawon_sockets, &key);

	if (flow && !flow->listening && !flow->reset)
		flow->reset = TAWON_CLOSE_RST_RECEIVED;
	return 0;
}

/* tcp_destroy_sock, since 4.15: nothing comes after it. */
static __always_inline int destroy_sock(void *ctx, const struct sock *sk)
{
	__u64 key = (__u64)sk;
	struct tawon_flow *flow = bpf_map_lookup_elem(&tawon_sockets, &key);

	if (!flow) {
		/* Its change to CLOSE was missed, or it never came to a connection. */
		bpf_map_delete_elem(&tawon_unwanted, &key);
		return 0;
	}
	if (flow->flow && !flow->closed && !flow->ended) {
		/* Its change to CLOSE was missed: an interrupt fell into the run of that program. */
		put_statistics(flow, sk);
		flow->ended = bpf_ktime_get_ns();
		flow->error = BPF_CORE_READ(sk, sk_err);
		flow->reason = close_reason(flow->error, TCP_FIN_WAIT2);
		flow->closed = 1;
	}
	send_ended(ctx, flow, ERROR_DESTROY_OUTPUT);
	bpf_map_delete_elem(&tawon_sockets, &key);
	return 0;
}

/* Somebody got a connection from a listener. */
static __always_inline int accepted(void *ctx, const struct sock *sk)
{
	struct tawon_flow *flow, fresh = {};
	__u64 start, key = (__u64)sk;
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	int error;

	if (!tawon_live.tcp || !sk || BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP)
		return 0;
	flow = bpf_map_lookup_elem(&tawon_sockets, &key);
	if (!flow) {
		/* In the queue, but not established yet: whoever looks next will know it. */
		if (BPF_CORE_READ(sk, __sk_common.skc_state) == TCP_SYN_RECV)
			return 0;
		/* It may have become so since: the tracepoint comes before the new state. */
		flow = bpf_map_lookup_elem(&tawon_sockets, &key);
	}
	if (!flow) {
		/* Established before the agent, or the table was full. */
		start = process_start((void *)bpf_get_current_task());
		fresh.header.mask = tawon_wanted(TAWON_FLOWS, tgid, start, &fresh.header.flags);
		if (!fresh.header.mask)
			return 0;
		fresh.flow = flow_number(bpf_ktime_get_ns());
		fresh.sock = key;
		fresh.protocol = IPPROTO_TCP;
		fresh.direction = TAWON_INBOUND;
		put_addresses(&fresh, sk);
		put_owner(&fresh, start);
		error = bpf_map_update_elem(&tawon_sockets, &key, &fresh, BPF_NOEXIST);
		if (!error) {
			send_flow(ctx, &fresh, TAWON_FLOW_OPEN, bpf_ktime_get_ns(), ERROR_ACCEPT_OUTPUT);
			return 0;
		}
		/* It may have become established just now. */
		flow = error == -EEXIST ? bpf_map_lookup_elem(&tawon_sockets, &key) : NULL;
		if (!flow) {
			tawon_not_taken(error, ERROR_ACCEPT_FULL, ERROR_ACCEPT_REFUSED);
			return 0;
		}
	}
	if (flow->claimed)
		return 0;
	if (!claimed(ctx, flow, key, ERROR_ACCEPT_OUTPUT))
		return 0;
	/* It may have ended between the last look and the claim. */
	if (flow->closed && flow->reason != TAWON_CLOSE_ABORTED)
		send_ended(ctx, flow, ERROR_ACCEPT_OUTPUT);
	return 0;
}
