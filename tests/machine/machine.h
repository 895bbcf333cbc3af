/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A machine in memory below the real library. It implements both seams, os.h and
 * persist.h, with one disk of segment files at MACHINE_POOL, a clock that advances
 * when it is read, and a few lines of /proc. There is one machine. The crash
 * simulator, the fuzzers and unit tests link it instead of the operating system.
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
 * It is stricter than a kernel: a store, flush or read outside of a mapped file
 * aborts, and it counts stores, changes of files, and the mappings and descriptors
 * that were not released.
 *
 * Threads may call it one at a time. No call ever waits: one that would sleep
 * advances the clock, or lets an observer run another thread.
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
#define MACHINE_USER		1000u		/* owner of files and process */
#define MACHINE_START_TIME	4711u		/* start time of the process */
#define MACHINE_PID_NAMESPACE	4026531836u
#define MACHINE_TIME_NAMESPACE	4026531834u

struct machine {
	struct machine_disk *disk;
	enum dp_source_kind kind;
	const struct machine_observer *observer;	/* or NULL */
	/* What other processes do. */
	bool locked_elsewhere;
	int byte_owner;
	int pid;
	uint8_t boot_id[16];
	bool has_rdma;			/* RDMA exists, and netlink is unavailable */
	uint32_t extra_files;		/* files segment.4000, 4001, ... */
	struct machine_poison poison[MACHINE_POISONS];
	uint32_t poisons;
	struct machine_bad bad[MACHINE_BADS];
	uint32_t bads;
	struct machine_ring_plan ring;
	uint64_t room;			/* free chunks of the filesystem */
	uint32_t flushes_to_failure;	/* 0: no flush fails */
	uint64_t now_ns;
	uint64_t random;
	/* What the library did. */
	uint64_t stores;		/* stores to media, through persist.h */
	uint64_t changes;		/* changes of files: made, removed, resized */
	uint64_t mapped;		/* bytes that are still mapped */
	uint32_t open;			/* descriptors that are still open */
};

extern struct machine machine;

/* Boots the machine with this disk, restored to what machine_disk_save() saved. */
void machine_reset(struct machine_disk *disk);
/*
 * Simulates a power failure: a new boot, a new process, and an io_uring without delays
 * or failures. The library must have released everything, since its memory is still
 * that of this process.
 */
void machine_reboot(void);
/* Asserts that nothing is mapped, open or locked. */
void machine_expect_quiet(void);
/* Sets a boot id with this number in each byte. */
void machine_set_boot(uint8_t number);

#endif
