/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What was asked of the pool and when it returned, in events of the trace; and
 * what a pool may hold that was cut off anywhere in it.
 */
#ifndef SIM_HISTORY_H
#define SIM_HISTORY_H

#include "model.h"

#define HISTORY_OPS		256u
#define HISTORY_EFFECTS		2048u
#define HISTORY_CANDIDATES	64u

enum op_kind {
	OP_CREATE,
	OP_OPEN,
	OP_CLOSE,
	OP_KEEP,
	OP_KEEP_PERSIST,
	OP_RETIRE,
	OP_SET,
	OP_ROOT,
	OP_BATCH,
	OP_RDMA,
	OP_NO_RDMA,
	OP_RESERVE_ZERO,
	OP_PERSIST,
	OP_READ,
	OP_KINDS,
};

struct op {
	enum op_kind kind;
	uint32_t actor;
	uint32_t begin;			/* events before it was called */
	uint32_t end;			/* and when it had returned */
	uint32_t first;			/* effects */
	uint32_t effects;
	bool steps;			/* each effect for itself, in order */
	int result;
};

struct history {
	struct model base;
	uint32_t ops;
	uint32_t effects;
	struct op op[HISTORY_OPS];
	struct effect effect[HISTORY_EFFECTS];
};

const char *history_op_name(enum op_kind kind);

void history_begin(struct history *history, const struct model *base);
/* The call begins; effects are added before anything else can begin. */
uint32_t history_call(struct history *history, enum op_kind kind);
void history_effect(struct history *history, struct effect effect);
/* It returned; on an error it has no effect. */
void history_return(struct history *history, uint32_t op, int result);

/*
 * Every state that is possible after that many events: operations that had
 * returned are done, those in flight may be. Operations that overlap in time
 * may have happened in either order. Returns how many; UINT32_MAX: more than
 * there is room for.
 */
uint32_t history_candidates(const struct history *history, uint32_t event,
			    struct model *ret_candidate);
/* An operation returned just there. */
bool history_is_boundary(const struct history *history, uint32_t event);
/* What was going on then, for people. */
const char *history_op_at(const struct history *history, uint32_t event);

#endif
