/* SPDX-License-Identifier: BSD-3-Clause */
/* The descriptors that the machine returned, and what each refers to. */
#ifndef MACHINE_HANDLE_H
#define MACHINE_HANDLE_H

#include <stdbool.h>
#include <stdint.h>

#define MACHINE_HANDLES		32

enum machine_handle_kind {
	MACHINE_HANDLE_NONE,
	MACHINE_HANDLE_POOL,		/* the pool's directory */
	MACHINE_HANDLE_SEGMENT,
	MACHINE_HANDLE_EVENT,
	MACHINE_HANDLE_RING,
	MACHINE_HANDLE_SOCKET,
};

struct machine_handle {
	enum machine_handle_kind kind;
	uint32_t file;			/* of a segment; number of a ring */
	uint64_t count;			/* the count of an eventfd */
	bool locked;			/* a segment's file, locked by flock() */
};

/* Returns a new descriptor, or -EMFILE. */
int machine_handle_new(enum machine_handle_kind kind, uint32_t file);
/*
 * Returns the struct of an open descriptor. Aborts for any other number, since only a
 * fault of the library passes one.
 */
struct machine_handle *machine_handle(int fd);
/* Returns the file of a segment's descriptor. */
uint32_t machine_handle_file(int fd);
/* Has this process locked the file of a segment? */
bool machine_handle_locks(uint32_t file);
void machine_handles_forget(void);

/* Returns how often an eventfd was written since the last call. */
uint64_t machine_event_count(int fd);

#endif
