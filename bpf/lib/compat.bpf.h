/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/* Everything in which kernels differ. */
#pragma once

#include "vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_MPTCP 262
#define ENOENT 2
#define E2BIG 7
#define EEXIST 17
#define EAGAIN 11
#define ENOSPC 28
#define ECONNREFUSED 111
#define ECONNABORTED 103
#define ECONNRESET 104
#define EPIPE 32
#define ETIMEDOUT 110
#define PF_KTHREAD 0x00200000
#define SIGNAL_GROUP_EXIT 0x00000004
#define SOCK_DONE 1
#define SEND_SHUTDOWN 2

/* What inet_csk_accept returned: it stands behind the arguments, of which there are two since 6.10, four before. */
static __always_inline struct sock *csk_accepted(__u64 *ctx)
{
	__u64 sk;

	if (bpf_core_type_exists(struct proto_accept_arg)) {
		sk = ctx[2];
		/* Else the compiler makes one access out of the two, at a place that the verifier does not know. */
		barrier_var(sk);
		return (void *)sk;
	}
	sk = ctx[4];
	barrier_var(sk);
	return (void *)sk;
}

/* kernfs_node's parent has another name since 6.15. */
static __always_inline struct kernfs_node *kernfs_parent(struct kernfs_node *node)
{
	struct kernfs_node___before_6_15 *old = (void *)node;

	if (bpf_core_field_exists(node->__parent))
		return BPF_CORE_READ(node, __parent);
	return BPF_CORE_READ(old, parent);
}

/* The cgroup that names a container: of the unified hierarchy where the process is in one that is
 * not its root, else of the memory controller (else cpu) of version 1. */
static __always_inline struct kernfs_node *container_cgroup(struct task_struct *task)
{
	struct kernfs_node *node = BPF_CORE_READ(task, cgroups, dfl_cgrp, kn);
	int id;

	if (node && kernfs_parent(node))
		return node;
	if (bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id))
		id = bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id);
	else
		id = bpf_core_enum_value(enum cgroup_subsys_id, cpu_cgrp_id);
	if (id < 0 || id >= 12)
		return NULL;
	return BPF_CORE_READ(task, cgroups, subsys[id], cgroup, kn);
}

/* A mask of capabilities: two words before 6.3, one since; the bytes are the same. */
#define CAPABILITIES(field)                                            \
	({                                                             \
		__u64 _mask = 0;                                       \
		bpf_core_read(&_mask, sizeof(_mask), &(field));        \
		_mask;                                                 \
	})

#define S_IFMT 00170000
#define S_IFSOCK 0140000

/* The socket that a file is, else NULL; before 5.11 there is no helper for it. */
static __always_inline struct socket *socket_from_file(struct file *file)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_sock_from_file))
		return bpf_sock_from_file(file);
	if ((BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return NULL;
	return BPF_CORE_READ(file, private_data);
}
