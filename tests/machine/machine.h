/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A machine in memory under the real library: both seams, os.h and persist.h.
 * One disk of segment files at MACHINE_POOL, a clock that advances when it is
 * read, a few lines of /proc. There is one machine; the crash simulator, the
 * fuzzers and unit tests link it instead of the operating system.
 *
 *	disk		bytes and inodes of files		disk.h
 *	damage		poison and bad sectors			damage.h
 *	handle		descriptors				handle.h
 *	mapping		mappings of files			mapping.h
 *	space		holes					space.h
 *	pin		pages that a device has pinned		pin.h
 *	ring, request	io_uring, in an order that a seed decides	ring.h
 *	file, proc, process, clock, wake, persist: the calls of the seams
 *
 * It is strict where a kernel is not: nothing is stored, flushed or read outside
 * of a mapped file, stores and changes to files are counted, and so are mappings
 * and descriptors that were not given back.
 *
 * Threads may call it one at a time. Nothing is ever waited for: a call that would
 * sleep advances the clock, or lets an observer run another thread.
 */
#ifndef MACHINE_H
#define MACHINE_H

#include "damage.h"
#include "disk.h"
#include "observer.h"
#include "pin.h"
#include "pool/source.h"
#include "ring.h"
#include "space.h"

#define MACHINE_POOL		"/pool"
#define MACHINE_USER		1000u		/* who runs, and owns the files */
#define MACHINE_START_TIME	4711u		/* of its process */
#define MACHINE_PID_NAMESPACE	4026531836u
#define MACHINE_TIME_NAMESPACE	4026531834u

struct machine {
	struct machine_disk *disk;
	enum dp_source_kind kind;
	const struct machine_observer *observer;	/* or NULL */
	/* What others do. */
	bool locked_elsewhere;
	int byte_owner;
	int pid;
	uint8_t boot_id[16];
	bool has_rdma;			/* and nothing can be told of it */
	uint32_t extra_files;		/* segment.4000 and on */
	struct machine_poison poison[MACHINE_POISONS];
	uint32_t poisons;
	struct machine_bad bad[MACHINE_BADS];
	uint32_t bads;
	struct machine_ring_plan ring;
	uint64_t room;			/* chunks that the filesystem has left */
	uint32_t flushes_to_failure;	/* 0: no flush fails */
	uint64_t now_ns;
	uint64_t random;
	/* What the library did. */
	uint64_t stores;		/* to media, through persist.h */
	uint64_t changes;		/* to files: made, removed, resized */
	uint64_t mapped;		/* bytes not given back */
	uint32_t open;			/* descriptors not given back */
};

extern struct machine machine;

/* A machine that just booted, with that disk as it was saved. */
void machine_reset(struct machine_disk *disk);
/*
 * The power was cut: another boot and another process, and io_uring is calm.
 * Everything must have been given back, since the library's memory is still this
 * process's.
 */
void machine_reboot(void);
/* Nothing is mapped, open or locked any more. */
void machine_expect_quiet(void);
/* A boot whose id is that number in each byte. */
void machine_set_boot(uint8_t number);

#endif
