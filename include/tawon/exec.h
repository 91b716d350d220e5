/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/* Records of the exec source. */
#pragma once

#include <tawon/record.h>

#define TAWON_EXEC_FORK 1 /* a process was made */
#define TAWON_EXEC_EXEC 2 /* a process exec'd */
#define TAWON_EXEC_EXIT 3 /* a process ended: its last thread has gone */
#define TAWON_EXEC_RENAME 4 /* a process has another comm */
#define TAWON_EXEC_THREAD 5 /* a further thread was made */
#define TAWON_EXEC_THREAD_EXIT 6 /* such a thread ended; of several that are the last, some behind EXIT */
#define TAWON_EXEC_KINDS 7

/* The longest path that the kernel shows anywhere, and room for one more name. */
#define TAWON_EXE_MAX (4096 + 256)
#define TAWON_CWD_MAX (4096 + 256)
#define TAWON_CGROUP_MAX 1024
#define TAWON_ARGS_MAX 4096
#define TAWON_EXEC_DATA 16384

/* The fixed part; EXEC goes on with data, the other kinds end here. */
struct tawon_exec {
	struct tawon_header header;
	__u64 start; /* of the process: ns of CLOCK_BOOTTIME */
	__u64 thread_start; /* of the thread; 0 in EXEC, in which a thread has the process's from then on */
	__u64 caps_effective;
	__u64 caps_permitted;
	__u32 tgid;
	__u32 tid; /* EXEC: the one that it had before, if another than the first thread exec'd */
	__u32 ppid;
	__u32 uid;
	__u32 gid;
	__s32 status; /* EXIT: as wait(2) gives it */
	__u32 ns_pid; /* inode numbers */
	__u32 ns_net;
	__u32 ns_mnt;
	__u32 ns_user;
	__u32 ns_uts;
	__u32 ns_ipc;
	__u32 ns_cgroup;
	__u32 args_size; /* EXEC: of the whole argv, of which args_len bytes are here */
	__u8 comm[16];
	/* EXEC: lengths of what stands in data, in this order. Paths are components, innermost first,
	 * each ended by a zero byte, the last a slash, unless the path was too long and is cut there; args is argv as in
	 * /proc/PID/cmdline. */
	__u16 exe_len;
	__u16 cwd_len;
	__u16 cgroup_len;
	__u16 args_len;
};

/* What the task iterator tells of each process that is there already. */
struct tawon_task {
	__u64 start;
	__u32 tgid;
	__u32 inserted; /* 1: the watch map had no entry for it */
};
