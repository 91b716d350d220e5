// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/* flows: when TCP connections and UDP exchanges begin and end. Nothing runs per segment; a datagram costs
 * one look-up and two additions. */
#include "lib/again.bpf.h"
#include "lib/socket.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Error numbers; src/task/source/flows names them. */
#define ERROR_STATE_OUTPUT 0
#define ERROR_RESET_OUTPUT 1
#define ERROR_DESTROY_OUTPUT 2
#define ERROR_ACCEPT_OUTPUT 3
#define ERROR_DATAGRAM_OUTPUT 4
#define ERROR_OWNER_OUTPUT 5
#define ERROR_RELEASE_OUTPUT 6
#define ERROR_STATE_FULL 7
#define ERROR_ACCEPT_FULL 8
#define ERROR_DATAGRAM_FULL 9
#define ERROR_OWNER_FULL 10

/* Pairs of a program and its copy; src/agent/plans.rs names them. */
#define PAIR_SET_STATE 0
#define PAIR_SEND_RESET 1
#define PAIR_RECEIVE_RESET 2
#define PAIR_DESTROY_SOCK 3

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct tawon_peer_key);
	__type(value, struct tawon_peer);
} tawon_peers SEC(".maps");

/* Sends a copy: what stands in the map may be changed by another CPU meanwhile. */
static __always_inline void send_flow(void *ctx, const struct tawon_flow *flow, __u16 kind, __u64 now, __u32 failed)
{
	struct tawon_flow copy = *flow;

	copy.header.time = now;
	copy.header.kind = kind;
	copy.header.size = sizeof(copy);
	tawon_emit(ctx, &copy.header, sizeof(copy), failed);
}

static __always_inline void send_claim(void *ctx, const struct tawon_flow *flow, __u16 kind, __u64 now, __u32 failed)
{
	struct tawon_claim claim = {};

	claim.header = flow->header;
	claim.header.time = now;
	claim.header.kind = kind;
	claim.header.size = sizeof(claim);
	claim.flow = flow->flow;
	claim.sock = flow->sock;
	claim.process_start = flow->process_start;
	claim.tgid = flow->tgid;
	claim.tid = flow->tid;
	tawon_emit(ctx, &claim.header, sizeof(claim), failed);
}

/* `ended` of a connection that has reached CLOSE, once. */
static __always_inline void send_ended(void *ctx, struct tawon_flow *flow, __u32 failed)
{
	if (!flow->closed)
		return;
	flow->closed = 0;
	/* Only whoever accepted it can send a FIN; the listener's end resets what it never gave away. */
	if (!flow->claimed && flow->direction == TAWON_INBOUND && flow->reason != TAWON_CLOSE_FIN &&
	    flow->reset != TAWON_CLOSE_RST_RECEIVED)
		flow->reason = TAWON_CLOSE_NEVER_ACCEPTED;
	else if (flow->reset)
		flow->reason = flow->reset;
	send_flow(ctx, flow, TAWON_FLOW_ENDED, bpf_ktime_get_ns(), failed);
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

/* The current task owns what nobody did. Whether anybody wants to know of it. */
static __always_inline int claimed(void *ctx, struct tawon_flow *flow, __u64 key, __u32 failed)
{
	__u64 start = process_start((void *)bpf_get_current_task());

	flow->header.mask = tawon_wanted(TAWON_FLOWS, bpf_get_current_pid_tgid() >> 32, start, &flow->header.flags);
	put_owner(flow, start);
	send_claim(ctx, flow, TAWON_FLOW_CLAIMED, bpf_ktime_get_ns(), failed);
	if (flow->header.mask)
		return 1;
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

	if (!tawon_live.tcp || BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP)
		return 0;

	if (new == TCP_CLOSE) {
		int error = BPF_CORE_READ(sk, sk_err);

		flow = bpf_map_lookup_elem(&tawon_sockets, &key);
		if (!flow) {
			struct tawon_flow *unknown = &fresh;
			__u32 zero = 0;
			struct tawon_watch *fallback = bpf_map_lookup_elem(&tawon_default, &zero);

			/* Of a socket whose end is wanted whoever owns it, and whose start was missed. */
			if (!fallback || !fallback->mask[TAWON_FLOWS] || old == TCP_LISTEN || old == TCP_SYN_SENT ||
			    old == TCP_CLOSE || old == TCP_SYN_RECV)
				return 0;
			if (bpf_get_current_pid_tgid() >> 32 == tawon_config.agent)
				return 0;
			now = bpf_ktime_get_ns();
			unknown->header.mask = fallback->mask[TAWON_FLOWS];
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
			send_ended(ctx, flow, ERROR_STATE_OUTPUT);
			bpf_map_delete_elem(&tawon_sockets, &key);
		}
		start = process_start((void *)bpf_get_current_task());
		tgid = bpf_get_current_pid_tgid() >> 32;
		fresh.header.mask = tawon_wanted(TAWON_FLOWS, tgid, start, &flags);
		if (!fresh.header.mask)
			return 0;
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
		if (bpf_map_update_elem(&tawon_sockets, &key, &fresh, BPF_ANY))
			tawon_count(TAWON_COUNT_ERROR + ERROR_STATE_FULL);
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
		fresh.flow = flow_number(now);
		fresh.header.mask = ~0ULL;
		fresh.header.flags = TAWON_F_PENDING;
		fresh.sock = key;
		fresh.protocol = IPPROTO_TCP;
		fresh.direction = TAWON_INBOUND;
		fresh.started = now;
		fresh.established = now;
		put_addresses(&fresh, sk);
		if (bpf_map_update_elem(&tawon_sockets, &key, &fresh, BPF_ANY)) {
			tawon_count(TAWON_COUNT_ERROR + ERROR_STATE_FULL);
			return 0;
		}
		send_flow(ctx, &fresh, TAWON_FLOW_ARRIVED, now, ERROR_STATE_OUTPUT);
	}
	return 0;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(tawon_set_state, const struct sock *sk, int old, int new)
{
	tawon_runs(ctx, PAIR_SET_STATE);
	return set_state(ctx, sk, old, new);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(tawon_set_state_again, const struct sock *sk, int old, int new)
{
	return tawon_left_out(ctx, PAIR_SET_STATE) ? set_state(ctx, sk, old, new) : 0;
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

SEC("tp_btf/tcp_send_reset")
int BPF_PROG(tawon_send_reset, const struct sock *sk)
{
	tawon_runs(ctx, PAIR_SEND_RESET);
	return send_reset(ctx, sk);
}

SEC("tp_btf/tcp_send_reset")
int BPF_PROG(tawon_send_reset_again, const struct sock *sk)
{
	return tawon_left_out(ctx, PAIR_SEND_RESET) ? send_reset(ctx, sk) : 0;
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

SEC("tp_btf/tcp_receive_reset")
int BPF_PROG(tawon_receive_reset, const struct sock *sk)
{
	tawon_runs(ctx, PAIR_RECEIVE_RESET);
	return receive_reset(ctx, sk);
}

SEC("tp_btf/tcp_receive_reset")
int BPF_PROG(tawon_receive_reset_again, const struct sock *sk)
{
	return tawon_left_out(ctx, PAIR_RECEIVE_RESET) ? receive_reset(ctx, sk) : 0;
}

/* tcp_destroy_sock, since 4.15: nothing comes after it. */
static __always_inline int destroy_sock(void *ctx, const struct sock *sk)
{
	__u64 key = (__u64)sk;
	struct tawon_flow *flow = bpf_map_lookup_elem(&tawon_sockets, &key);

	if (!flow)
		return 0;
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

SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(tawon_destroy_sock, const struct sock *sk)
{
	tawon_runs(ctx, PAIR_DESTROY_SOCK);
	return destroy_sock(ctx, sk);
}

SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(tawon_destroy_sock_again, const struct sock *sk)
{
	return tawon_left_out(ctx, PAIR_DESTROY_SOCK) ? destroy_sock(ctx, sk) : 0;
}

static __always_inline int accepted(void *ctx, int fd)
{
	struct sock *sk = fd < 0 ? NULL : socket_of(fd);
	struct tawon_flow *flow, fresh = {};
	__u64 start, key = (__u64)sk;
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;

	if (!tawon_live.tcp || !sk || BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP)
		return 0;
	start = process_start((void *)bpf_get_current_task());
	flow = bpf_map_lookup_elem(&tawon_sockets, &key);
	if (!flow) {
		/* Established before the agent, or the table was full. */
		fresh.header.mask = tawon_wanted(TAWON_FLOWS, tgid, start, &fresh.header.flags);
		if (!fresh.header.mask)
			return 0;
		fresh.flow = flow_number(bpf_ktime_get_ns());
		fresh.sock = key;
		fresh.protocol = IPPROTO_TCP;
		fresh.direction = TAWON_INBOUND;
		put_addresses(&fresh, sk);
		put_owner(&fresh, start);
		if (bpf_map_update_elem(&tawon_sockets, &key, &fresh, BPF_NOEXIST)) {
			tawon_count(TAWON_COUNT_ERROR + ERROR_ACCEPT_FULL);
			return 0;
		}
		send_flow(ctx, &fresh, TAWON_FLOW_OPEN, bpf_ktime_get_ns(), ERROR_ACCEPT_OUTPUT);
		return 0;
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

/* The syscalls' exits, since inet_csk_accept needs fexit, which some kernels refuse. Miss 32-bit callers
 * and io_uring: their connections are reported as nobody's. */
SEC("tp/syscalls/sys_exit_accept4")
int tawon_accept4(struct trace_event_raw_sys_exit *ctx)
{
	return accepted(ctx, ctx->ret);
}

SEC("tp/syscalls/sys_exit_accept")
int tawon_accept(struct trace_event_raw_sys_exit *ctx)
{
	return accepted(ctx, ctx->ret);
}

/* The first to send or receive on a UDP socket owns it. */
static __always_inline int owner(void *ctx, const struct sock *sk)
{
	struct tawon_flow *flow, fresh = {};
	__u64 start, now, key = (__u64)sk;
	__u32 tgid;

	if (!tawon_live.udp || BPF_CORE_READ(sk, sk_protocol) != IPPROTO_UDP)
		return 0;
	flow = bpf_map_lookup_elem(&tawon_sockets, &key);
	tgid = bpf_get_current_pid_tgid() >> 32;
	/* Of one that was there before, the walk knows the process and not the thread. */
	if (flow && flow->claimed && (flow->tid || flow->tgid != tgid))
		return 0;
	start = process_start((void *)bpf_get_current_task());
	now = bpf_ktime_get_ns();
	if (!flow) {
		flow = &fresh;
		flow->sock = flow_number(now);
	}
	flow->header.mask = tawon_wanted(TAWON_FLOWS, tgid, start, &flow->header.flags);
	flow->protocol = IPPROTO_UDP;
	put_owner(flow, start);
	put_addresses(flow, sk);
	if (flow == &fresh && bpf_map_update_elem(&tawon_sockets, &key, &fresh, BPF_NOEXIST)) {
		tawon_count(TAWON_COUNT_ERROR + ERROR_OWNER_FULL);
		return 0;
	}
	send_claim(ctx, flow, TAWON_FLOW_CLAIMED, now, ERROR_OWNER_OUTPUT);
	return 0;
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

/* One datagram, at the socket. Network programs may not read struct sock by CO-RE: addresses come from
 * the packet, what else there is from the owner's claim. */
static __always_inline int datagram(struct __sk_buff *skb, int sending)
{
	struct bpf_sock *sk = skb->sk;
	struct tawon_peer_key key = {};
	struct tawon_peer *peer, first = {};
	struct tawon_flow *socket, told = {};
	__u32 bytes, transport, segments = skb->gso_segs ? skb->gso_segs : 1;
	__u16 ports[2];
	__u64 now, address;

	if (!tawon_live.udp || !sk)
		return 1;
	sk = bpf_sk_fullsock(sk);
	if (!sk || sk->protocol != IPPROTO_UDP)
		return 1;
	address = (__u64)sk;
	socket = bpf_map_lookup_elem(&tawon_sockets, &address);
	if (socket && socket->claimed && !socket->header.mask)
		return 1;

	if (skb->protocol == bpf_htons(0x0800)) {
		__u8 head[20];

		if (bpf_skb_load_bytes(skb, 0, head, sizeof(head)) || head[9] != IPPROTO_UDP)
			return 1;
		transport = (head[0] & 15) * 4;
		put_mapped(key.peer, *(__be32 *)(head + (sending ? 16 : 12)));
		put_mapped(told.local, *(__be32 *)(head + (sending ? 12 : 16)));
		told.family = AF_INET;
	} else if (skb->protocol == bpf_htons(0x86dd)) {
		__u8 head[40];
		int extensions;

		if (bpf_skb_load_bytes(skb, 0, head, sizeof(head)))
			return 1;
		transport = sizeof(head);
		for (extensions = 0; extensions < 4 && head[6] != IPPROTO_UDP; extensions++) {
			__u8 extension[2];

			/* Hop-by-hop, routing, destination options (RFC 8200 section 4.1). */
			if (head[6] != 0 && head[6] != 43 && head[6] != 60)
				return 1;
			if (bpf_skb_load_bytes(skb, transport, extension, sizeof(extension)))
				return 1;
			head[6] = extension[0];
			transport += (extension[1] + 1) * 8;
		}
		if (head[6] != IPPROTO_UDP)
			return 1;
		__builtin_memcpy(key.peer, head + (sending ? 24 : 8), 16);
		__builtin_memcpy(told.local, head + (sending ? 8 : 24), 16);
		told.family = AF_INET6;
	} else {
		return 1;
	}
	if (bpf_skb_load_bytes(skb, transport, ports, sizeof(ports)))
		return 1;
	key.peer_port = bpf_ntohs(ports[sending ? 1 : 0]);
	bytes = skb->len > transport + 8 ? skb->len - transport - 8 : 0;
	now = bpf_ktime_get_ns();

	if (!socket) {
		/* Whose it is, sock_send_length and sock_recv_length will say. */
		told.sock = flow_number(now);
		told.protocol = IPPROTO_UDP;
		told.header.mask = ~0ULL;
		told.header.flags = TAWON_F_PENDING;
		bpf_map_update_elem(&tawon_sockets, &address, &told, BPF_NOEXIST);
		socket = bpf_map_lookup_elem(&tawon_sockets, &address);
		if (!socket) {
			tawon_count(TAWON_COUNT_ERROR + ERROR_DATAGRAM_FULL);
			return 1;
		}
	}
	key.sock = socket->sock;
	peer = bpf_map_lookup_elem(&tawon_peers, &key);
	if (!peer) {
		first.flow = flow_number(now);
		first.started = now;
		if (bpf_map_update_elem(&tawon_peers, &key, &first, BPF_NOEXIST) == 0) {
			told.flow = first.flow;
			told.header.mask = ~0ULL;
			told.header.flags = TAWON_F_PENDING;
			told.sock = key.sock;
			told.started = now;
			told.protocol = IPPROTO_UDP;
			told.direction = sending ? TAWON_OUTBOUND : TAWON_INBOUND;
			told.local_port = bpf_ntohs(ports[sending ? 0 : 1]);
			told.peer_port = key.peer_port;
			told.mark = sk->mark;
			__builtin_memcpy(told.peer, key.peer, 16);
			if (socket->claimed) {
				told.header.mask = socket->header.mask;
				told.header.flags = socket->header.flags;
				told.process_start = socket->process_start;
				told.tgid = socket->tgid;
				told.tid = socket->tid;
				told.netns = socket->netns;
				told.claimed = socket->tid != 0;
			}
			told.header.time = now;
			told.header.kind = TAWON_FLOW_DATAGRAM;
			told.header.size = sizeof(told);
			/* What nobody was told of would never be taken out again: the next datagram tries anew. */
			if (tawon_emit(skb, &told.header, sizeof(told), ERROR_DATAGRAM_OUTPUT)) {
				bpf_map_delete_elem(&tawon_peers, &key);
				return 1;
			}
		}
		peer = bpf_map_lookup_elem(&tawon_peers, &key);
		if (!peer) {
			tawon_count(TAWON_COUNT_ERROR + ERROR_DATAGRAM_FULL);
			return 1;
		}
	}
	peer->last = now;
	if (sending) {
		__sync_fetch_and_add(&peer->bytes_tx, bytes);
		__sync_fetch_and_add(&peer->segs_tx, segments);
	} else {
		__sync_fetch_and_add(&peer->bytes_rx, bytes);
		__sync_fetch_and_add(&peer->segs_rx, segments);
	}
	return 1;
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
	struct socket *socket;
	struct sock *sk;
	__u16 protocol;
	__u8 state;
	__u64 key;

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
	if (protocol == IPPROTO_TCP && tawon_live.tcp) {
		if (state == TCP_LISTEN)
			fresh.listening = 1;
		else if (state == TCP_CLOSE || state == TCP_SYN_SENT || state == TCP_TIME_WAIT)
			return 0;
		put_statistics(&fresh, sk);
	} else if (protocol == IPPROTO_UDP && tawon_live.udp) {
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
	if (bpf_map_update_elem(&tawon_sockets, &key, &fresh, BPF_NOEXIST))
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
	put_statistics(&copy, (const struct sock *)*key);
	copy.header.time = bpf_ktime_get_ns();
	copy.header.kind = TAWON_FLOW_OPEN;
	copy.header.size = sizeof(copy);
	bpf_seq_write(ctx->meta->seq, &copy, sizeof(copy));
	return 0;
}
