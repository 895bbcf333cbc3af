/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The calls that were made on the pool and when they returned, in events of the trace;
 * and the contents that a pool may have if the power is cut anywhere in it.
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
	OP_OBJECT_KEEP,
	OP_OBJECT_FREE,
	OP_GROW,
	OP_SHRINK,
	OP_COPY,
	OP_KINDS,
};

struct op {
	enum op_kind kind;
	uint32_t actor;
	uint32_t begin;			/* events before the call */
	uint32_t end;			/* events before its return */
	uint32_t first;			/* effects */
	uint32_t effects;
	bool steps;			/* effects happen separately, in order */
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
/* A call begins. Its effects are added before any other operation can begin. */
uint32_t history_call(struct history *history, enum op_kind kind);
void history_effect(struct history *history, struct effect effect);
/* A call returned. If it failed, it has no effect. */
void history_return(struct history *history, uint32_t op, int result);

/*
 * Returns every state that is possible after that many events: operations that had
 * returned are applied, those in flight may be. Operations that overlap in time may be
 * applied in either order. Returns the number of states, or UINT32_MAX if there is no
 * room for all.
 */
uint32_t history_candidates(const struct history *history, uint32_t event,
			    struct model *ret_candidate);
/* Did an operation return exactly there? */
bool history_is_boundary(const struct history *history, uint32_t event);
/* The name of an operation that was in flight then, for messages. */
const char *history_op_at(const struct history *history, uint32_t event);

#endif
