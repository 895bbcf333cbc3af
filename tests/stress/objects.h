/* SPDX-License-Identifier: BSD-3-Clause */
/* Small objects in the stress test, and their shadow. */
#ifndef STRESS_OBJECTS_H
#define STRESS_OBJECTS_H

#include "world.h"

/* The shadow is in memory that children share. */
void objects_init(void);
void objects_fini(void);

/* Actions: reserve, keep, free or cancel one; read one; a publish of several. */
bool object_step(struct thread *thread);
bool object_read(struct thread *thread);
bool object_batch(struct thread *thread);

/* A reserve returned this extent: no object may be in its blocks. */
void objects_expect_none(struct daxpin_extent extent, uint32_t blocks);

/* For a shrink: free all objects from this address on. */
void objects_leave(uint64_t begin);

/* While all threads pause: the library must have the objects of the shadow. */
void objects_compare(void);
/* The same after a close and an open, which only live ones survive. */
void objects_reopened(void);
/* The same after a kill of the process that used the pool: an operation that had not
 * returned was done or not. Returns how many there are. */
uint32_t objects_survived(void);

#endif
