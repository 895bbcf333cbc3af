/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which instructions for cache lines a piece of code executes: it is single-stepped by
 * the CPU's trap flag, on x86-64 only.
 */
#ifndef STEPS_H
#define STEPS_H

#include <stdbool.h>
#include <stdint.h>

enum step_kind {
	STEP_CLFLUSH = 1,
	STEP_CLFLUSHOPT,
	STEP_CLWB,
	STEP_FENCE,
	STEP_PAST,			/* 16 bytes are stored past the caches */
};

struct step {
	enum step_kind kind;
	uintptr_t at;			/* its address, 0 of a fence */
};

#define STEPS_MAX	4096u

struct steps {
	uint32_t count;
	struct step step[STEPS_MAX];
};

/* False after printing why not. */
bool steps_possible(void);
/* What this thread executes between the two. */
void steps_begin(struct steps *steps);
void steps_end(void);

#endif
