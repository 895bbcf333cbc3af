/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Numbers for the report: the states of each kind, and how many stores, flushes and
 * fences each operation takes.
 */
#ifndef SIM_REPORT_H
#define SIM_REPORT_H

#include "history.h"
#include "media.h"

#define REPORT_USELESS	12u

struct report_range {
	uint32_t low;
	uint32_t high;
};

/* An operation's events, of all its executions. */
struct report_op {
	uint64_t count;
	struct report_range stores;
	struct report_range flushes;
	struct report_range lines;
	struct report_range fences;
};

/* A flush or fence that was redundant. */
struct report_useless {
	enum op_kind op;
	enum media_what what;
	uint64_t count;
	char place[80];
};

/* The report of one kind; the child writes it, the parent reads it. */
struct report {
	uint64_t cuts;
	uint64_t states;
	uint64_t recoveries;
	uint64_t runs;
	uint64_t inside;		/* states within a recovery */
	uint64_t deepest;		/* states after the last crash of a chain */
	bool sampled;
	bool failed;
	struct report_op op[OP_KINDS];
	uint32_t useless_count;
	struct report_useless useless[REPORT_USELESS];
};

/* Count what the operations of a run did. */
void report_run(struct report *report, const struct history *history,
		const struct media_trace *trace);
void report_add(struct report *to, const struct report *from);
void report_print_ops(const struct report *report);

#endif
