/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of libdaxpin-uring know of each other. Each struct is touched
 * by one of them, which is named at it.
 */
#ifndef URING_H
#define URING_H

#include <daxpin-uring.h>
#include "util/util.h"

/* Newer than the oldest liburing; the kernel is asked whether it has them. */
#define DP_URING_OP_READV_FIXED		60
#define DP_URING_OP_WRITEV_FIXED	61

/* How the kernel is asked to change the ring (uring_ring.c). */
struct dp_uring_link {
	int fd;				/* a descriptor of our own, or an index */
	unsigned int by_index;		/* flag of every call, or 0 */
};

/* A slot of our range of the ring's buffer table (uring_slot.c). */
struct dp_uring_slot {
	uint32_t segment;		/* or DP_URING_EMPTY */
	uint32_t in_flight;		/* requests that name it */
	uint64_t used;			/* the table's clock at the last of them */
};
#define DP_URING_EMPTY	UINT32_MAX

/* What a segment has of it (uring_slot.c). */
struct dp_uring_seat {
	char *base;			/* where the segment is mapped */
	int slot;			/* in our range, or -1 */
	bool leaving;			/* no more requests by it */
	uint32_t asked;			/* requests that went without */
	uint32_t price;			/* of them, before it is tried again */
};

/* The buffer table, or our range of it (uring_slot.c). */
struct dp_uring_table {
	bool wanted;			/* not plain by the caller's own choice */
	bool there;
	bool own;			/* the table is ours to take out */
	bool eager;
	uint32_t first;
	uint32_t slots;
	uint32_t filled;
	uint32_t room;			/* slots for which there is memory, as far
					   as is known */
	uint64_t clock;
	int fallback;
	uint64_t bytes;
	uint64_t registrations, evictions, fallbacks;
	struct dp_uring_slot *slot;
	struct dp_uring_seat *seat;	/* one for each segment */
};

/* Fields that all read and uring.c alone writes, but for in_flight, which is
 * uring_prep.c's. */
struct daxpin_uring {
	struct daxpin_pool *pool;	/* NULL when detached */
	struct dp_uring_link link;
	struct daxpin_registration *registration;
	char label[DAXPIN_LABEL_MAX];
	/* Of requests: what they do, and for which ring. */
	char read_label[DAXPIN_LABEL_MAX];
	char write_label[DAXPIN_LABEL_MAX];
	char send_label[DAXPIN_LABEL_MAX];
	char command_label[DAXPIN_LABEL_MAX];
	int file_slot;
	bool own_files;			/* the file table is ours to take out */
	bool has_vectors;		/* the kernel knows READV_FIXED */
	bool has_send_zc;
	uint32_t segments;
	uint32_t segment_shift;		/* log2 of a segment's size */
	uint64_t needed_bytes;		/* of all segments */
	uint64_t in_flight;
	struct dp_uring_table table;
};

/* 0, or what every call on a uring returns: -EINVAL, -ESTALE. */
static inline int dp_uring_enter(const struct daxpin_uring *uring)
{
	if (!uring)
		return -EINVAL;
	return uring->pool ? 0 : -ESTALE;
}

/* uring_ring.c */
int dp_uring_link(const struct io_uring *ring, struct dp_uring_link *ret_link);
void dp_uring_unlink(struct dp_uring_link *link);
bool dp_uring_knows(const struct dp_uring_link *link, uint8_t opcode);
int dp_uring_make_files(const struct dp_uring_link *link, int fd);
int dp_uring_remove_files(const struct dp_uring_link *link);
int dp_uring_put_file(const struct dp_uring_link *link, uint32_t slot, int fd);
int dp_uring_make_buffers(const struct dp_uring_link *link, uint32_t slots);
int dp_uring_remove_buffers(const struct dp_uring_link *link);
int dp_uring_put_buffer(const struct dp_uring_link *link, uint32_t slot,
			void *base, size_t size);
/* The first slot of the range that is seen to be in use, or -1. */
int dp_uring_taken_file(const struct dp_uring_link *link, uint32_t slot);
int dp_uring_taken_buffer(const struct dp_uring_link *link, uint32_t first,
			  uint32_t count);

/* uring_slot.c */
int dp_uring_table_open(struct daxpin_uring *uring, bool can_be_fixed,
			const struct daxpin_uring_options *options);
int dp_uring_table_close(struct daxpin_uring *uring);
void dp_uring_table_free(struct daxpin_uring *uring);
int dp_uring_table_service(struct daxpin_uring *uring);
void dp_uring_table_info(const struct daxpin_uring *uring,
			 struct daxpin_uring_info *info);
/* The number that a request may name, and then it counts as its user; or -1. */
int dp_uring_slot_use(struct daxpin_uring *uring, uint32_t segment);
void dp_uring_slot_release(struct daxpin_uring *uring, int number);
/* A request went plain for another reason. */
void dp_uring_slot_refused(struct daxpin_uring *uring);

#endif
