/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RDMA_PIN_H
#define RDMA_PIN_H

#include <daxpin.h>
#include <stdbool.h>

/* What all parts of the demonstration use. */
struct stage {
	const char *pool_path;
	const char *device;	/* the RDMA device; NULL: none */
	const char *slow;	/* the slow disk; NULL: a pipe */
	const char *no_rdma;	/* why the RDMA part is skipped */
	bool unsafe;		/* without daxpin's protection */
	uint64_t read_ns;	/* how long a read from the disk takes */
	uint64_t corrupted;	/* --unsafe: bytes in the last part */
};

/* The parts. Each opens the pool and closes it. */
void demo_rdma(struct stage *stage);
void demo_uring(struct stage *stage);
void demo_crash(struct stage *stage);

/* Runs the process that demo_crash() kills. Does not return. */
int owner_main(const struct stage *stage);

/* Opens the pool and prints what it waits for. Ends the program on failure. */
struct daxpin_pool *open_pool(const struct stage *stage, unsigned int wait_ms);
/* Closes the pool, and claims that no hold or registration was left. */
void close_pool(struct daxpin_pool *pool);

/* Prints the holds of an extent. Returns their number. */
int print_holders(struct daxpin_pool *pool, struct daxpin_extent extent);

/* Publishes one operation on an extent: KEEP or RETIRE. */
int publish(struct daxpin_pool *pool, struct daxpin_extent extent,
	    uint32_t type, uint32_t flags);

/* Ends the program if err is not 0. */
void must(int err, const char *what);

#endif
