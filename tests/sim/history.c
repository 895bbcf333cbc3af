/* SPDX-License-Identifier: BSD-3-Clause */
#include <assert.h>
#include <string.h>
#include "history.h"
#include "media.h"

#define NOT_RETURNED	UINT32_MAX

const char *history_op_name(enum op_kind kind)
{
	static const char *const name[OP_KINDS] = {
		[OP_CREATE] = "create",
		[OP_OPEN] = "open",
		[OP_CLOSE] = "close",
		[OP_KEEP] = "keep",
		[OP_KEEP_PERSIST] = "keep, persist",
		[OP_RETIRE] = "retire",
		[OP_SET] = "set",
		[OP_ROOT] = "root",
		[OP_BATCH] = "batch",
		[OP_RDMA] = "record of rdma",
		[OP_NO_RDMA] = "rdma off record",
		[OP_RESERVE_ZERO] = "reserve, zero",
		[OP_PERSIST] = "persist",
		[OP_READ] = "read",
		[OP_OBJECT_KEEP] = "keep of an object",
		[OP_OBJECT_FREE] = "free of an object",
		[OP_GROW] = "grow",
		[OP_SHRINK] = "shrink",
		[OP_COPY] = "copy",
	};

	return name[kind];
}

void history_begin(struct history *history, const struct model *base)
{
	history->ops = history->effects = 0;
	history->base = *base;
}

uint32_t history_call(struct history *history, enum op_kind kind)
{
	struct op *op = &history->op[history->ops];

	assert(history->ops < HISTORY_OPS);
	*op = (struct op) {
		.kind = kind, .actor = media_actor,
		.begin = media_events(), .end = NOT_RETURNED,
		.first = history->effects,
	};
	return history->ops++;
}

void history_effect(struct history *history, struct effect effect)
{
	assert(history->effects < HISTORY_EFFECTS && history->ops);
	history->effect[history->effects++] = effect;
	history->op[history->ops - 1].effects++;
}

void history_return(struct history *history, uint32_t index, int result)
{
	struct op *op = &history->op[index];

	assert(op->end == NOT_RETURNED);
	op->end = media_events();
	op->result = result;
	if (result)
		op->effects = 0;
}

/* -------------------------------------------------------------- candidates */

struct search {
	const struct history *history;
	uint32_t event;
	struct model *candidate;
	uint32_t count;
	bool full;
	uint8_t done[HISTORY_OPS];
};

static bool is_called(const struct search *search, const struct op *op)
{
	return op->effects && (op->begin < search->event ||
			       op->end <= search->event);
}

static bool has_returned(const struct search *search, const struct op *op)
{
	return op->end <= search->event;
}

static uint64_t end_of(const struct effect *effect)
{
	if (effect->blocks)
		return effect->addr + effect->blocks * 4096ull;
	return effect->addr + (effect->size ? effect->size : 8);
}

static bool touches(const struct effect *a, const struct effect *b)
{
	uint64_t end_a = end_of(a), end_b = end_of(b);
	bool roots = a->what == EFFECT_ROOT && b->what == EFFECT_ROOT;

	if (a->what >= EFFECT_OPEN || b->what >= EFFECT_OPEN)
		return true;
	if (roots && a->root == b->root)
		return true;
	return a->addr < end_b && b->addr < end_a;
}

/* Does their order make a difference? */
static bool conflict(const struct search *search, const struct op *a,
		     const struct op *b)
{
	for (uint32_t i = 0; i < a->effects; i++)
		for (uint32_t j = 0; j < b->effects; j++)
			if (touches(&search->history->effect[a->first + i],
				    &search->history->effect[b->first + j]))
				return true;
	return false;
}

static void emit(struct search *search, const struct model *model)
{
	for (uint32_t i = 0; i < search->count; i++)
		if (!memcmp(&search->candidate[i], model, sizeof(*model)))
			return;
	if (search->count == HISTORY_CANDIDATES)
		search->full = true;
	else
		search->candidate[search->count++] = *model;
}

/* All operations that returned before this one began must have been applied. */
static bool may_be_next(const struct search *search, uint32_t index)
{
	const struct op *op = &search->history->op[index];

	for (uint32_t i = 0; i < search->history->ops; i++)
		if (!search->done[i] && search->history->op[i].effects &&
		    search->history->op[i].end <= op->begin && i != index)
			return false;
	return true;
}

/* Applies an operation. If it has steps and is in flight, each step is a state. */
static bool apply(struct search *search, struct model *model,
		  const struct op *op)
{
	bool flying = !has_returned(search, op);

	for (uint32_t i = 0; i < op->effects; i++) {
		if (!model_apply(model,
				 &search->history->effect[op->first + i]))
			return false;
		if (op->steps && flying)
			emit(search, model);
	}
	return model_is_sound(model);
}

/*
 * Searches the orders from a state. Of two neighbours whose order makes no difference
 * only the order of their numbers is tried.
 */
static void go_on(struct search *search, const struct model *model,
		  uint32_t last)
{
	const struct history *history = search->history;
	struct model next;
	bool complete = true;

	for (uint32_t i = 0; i < history->ops; i++)
		complete &= search->done[i] || !history->op[i].effects ||
			    !has_returned(search, &history->op[i]);
	if (complete)
		emit(search, model);
	for (uint32_t i = 0; i < history->ops; i++) {
		const struct op *op = &history->op[i];

		if (search->done[i] || !is_called(search, op) ||
		    !may_be_next(search, i))
			continue;
		if (last != NOT_RETURNED && i < last &&
		    !conflict(search, op, &history->op[last]))
			continue;
		next = *model;
		if (!apply(search, &next, op))
			continue;
		search->done[i] = 1;
		go_on(search, &next, i);
		search->done[i] = 0;
	}
}

/* The operations at the beginning that no others overlap have one order. */
static void apply_front(struct search *search, struct model *model)
{
	const struct history *history = search->history;

	for (uint32_t i = 0; i < history->ops; i++) {
		const struct op *op = &history->op[i];

		if (!op->effects)
			continue;
		if (!has_returned(search, op))
			return;
		for (uint32_t j = i + 1; j < history->ops; j++)
			if (history->op[j].effects &&
			    history->op[j].begin < op->end)
				return;
		if (!apply(search, model, op))
			return;
		search->done[i] = 1;
	}
}

uint32_t history_candidates(const struct history *history, uint32_t event,
			    struct model *ret_candidate)
{
	struct search search = {
		.history = history, .event = event, .candidate = ret_candidate,
	};
	struct model model = history->base;

	apply_front(&search, &model);
	go_on(&search, &model, NOT_RETURNED);
	return search.full ? UINT32_MAX : search.count;
}

bool history_is_boundary(const struct history *history, uint32_t event)
{
	for (uint32_t i = 0; i < history->ops; i++)
		if (history->op[i].end == event)
			return true;
	return false;
}

const char *history_op_at(const struct history *history, uint32_t event)
{
	for (uint32_t i = history->ops; i--;)
		if (history->op[i].begin < event && history->op[i].end >= event)
			return history_op_name(history->op[i].kind);
	return "the application";
}
