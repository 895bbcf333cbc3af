/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>
#include "report.h"

static void widen(struct report_range *range, uint32_t value, bool first)
{
	if (first || value < range->low)
		range->low = value;
	if (first || value > range->high)
		range->high = value;
}

static void add_useless(struct report *report,
			const struct report_useless *useless)
{
	struct report_useless *it = report->useless;

	for (uint32_t i = 0; i < report->useless_count; i++, it++)
		if (it->op == useless->op && it->what == useless->what &&
		    !strcmp(it->place, useless->place)) {
			it->count += useless->count;
			return;
		}
	if (report->useless_count == REPORT_USELESS)
		return;
	*it = *useless;
	report->useless_count++;
}

static void note_useless(struct report *report, enum op_kind op,
			 const struct media_event *event)
{
	struct report_useless useless = {
		.op = op, .what = event->what, .count = 1
	};
	char place[80];

	if (event->what == MEDIA_FLUSH) {
		/* The name of the structure, without the place in it. */
		media_place(event->offset, place);
		*strrchr(place, ',') = '\0';
		strcpy(useless.place, place);
	}
	add_useless(report, &useless);
}

static void report_one(struct report *report, const struct op *op,
		       const struct media_trace *trace)
{
	struct report_op *to = &report->op[op->kind];
	uint32_t stores = 0, flushes = 0, lines = 0, fences = 0;

	for (uint32_t i = op->begin; i < op->end && i < trace->events; i++) {
		const struct media_event *event = &trace->event[i];

		if (event->actor != op->actor)
			continue;
		stores += event->what == MEDIA_STORE;
		flushes += event->what == MEDIA_FLUSH;
		fences += event->what == MEDIA_FENCE;
		lines += event->lines;
		if (event->useless)
			note_useless(report, op->kind, event);
	}
	widen(&to->stores, stores, !to->count);
	widen(&to->flushes, flushes, !to->count);
	widen(&to->lines, lines, !to->count);
	widen(&to->fences, fences, !to->count);
	to->count++;
}

void report_run(struct report *report, const struct history *history,
		const struct media_trace *trace)
{
	report->runs++;
	for (uint32_t i = 0; i < history->ops; i++)
		if (!history->op[i].result)
			report_one(report, &history->op[i], trace);
}

static void join(struct report_range *to, const struct report_range *from,
		 bool first)
{
	widen(to, from->low, first);
	widen(to, from->high, false);
}

void report_add(struct report *to, const struct report *from)
{
	to->cuts += from->cuts;
	to->states += from->states;
	to->recoveries += from->recoveries;
	to->runs += from->runs;
	to->inside += from->inside;
	to->deepest += from->deepest;
	for (uint32_t i = 0; i < OP_KINDS; i++) {
		const struct report_op *op = &from->op[i];
		bool first = !to->op[i].count;

		if (!op->count)
			continue;
		join(&to->op[i].stores, &op->stores, first);
		join(&to->op[i].flushes, &op->flushes, first);
		join(&to->op[i].lines, &op->lines, first);
		join(&to->op[i].fences, &op->fences, first);
		to->op[i].count += op->count;
	}
	for (uint32_t i = 0; i < from->useless_count; i++)
		add_useless(to, &from->useless[i]);
}

static const char *text_of(const struct report_range *range, char text[24])
{
	if (range->low == range->high)
		snprintf(text, 24, "%u", range->low);
	else
		snprintf(text, 24, "%u-%u", range->low, range->high);
	return text;
}

void report_print_ops(const struct report *report)
{
	char a[24], b[24], c[24], d[24];

	printf("# %-16s %9s %11s %9s %11s %8s\n", "operation", "times",
	       "stores", "flushes", "lines", "fences");
	for (uint32_t i = 0; i < OP_KINDS; i++) {
		const struct report_op *op = &report->op[i];

		if (op->count)
			printf("# %-16s %9llu %11s %9s %11s %8s\n",
			       history_op_name(i),
			       (unsigned long long)op->count,
			       text_of(&op->stores, a),
			       text_of(&op->flushes, b),
			       text_of(&op->lines, c),
			       text_of(&op->fences, d));
	}
	for (uint32_t i = 0; i < report->useless_count; i++) {
		const struct report_useless *it = &report->useless[i];

		if (it->what == MEDIA_FLUSH)
			printf("# redundant: %s flushes lines of %s that have nothing new, %llu times\n",
			       history_op_name(it->op), it->place,
			       (unsigned long long)it->count);
		else
			printf("# redundant: %s fences with nothing flushed, %llu times\n",
			       history_op_name(it->op),
			       (unsigned long long)it->count);
	}
	if (!report->useless_count)
		printf("# no flush and no fence was redundant\n");
}
