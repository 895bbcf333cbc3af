/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A level is one run, which begins on the medium that a crash has left. Its trace is
 * rewound and replayed with a cut at every event. Some of the resulting states begin
 * the next level, whose run starts with the recovery, so that cuts inside a recovery
 * are tried like any others.
 *
 * The number of states that a level may try is shared evenly: a cut with fewer than its
 * share is tried with all its states, others with a sample.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "explore.h"
#include "machine/machine.h"
#include "random.h"
#include "oracle.h"
#include "power.h"

#define LAST_STATES	64u	/* of a run that only one more crash ends */
#define NESTED_STATES	256u	/* of an earlier run, with all runs below it */
#define SCHEDULE_STATES	64u	/* of one schedule */
#define ALL_PERCENT	100u
#define TURN_STATES	16u	/* of a cut at the first or last of many stores */
#define SIMPLE_WEIGHT	4u	/* simple states begin a level more often */

struct level {
	struct world world;
	struct power power;
	struct model *candidate;
	uint32_t candidates;
	struct model live;		/* what the pool itself reported at the end */
	bool has_live;
};

struct explore {
	const struct kind *kind;
	const struct explore_limits *limits;
	struct report *report;
	struct oracle oracle;
	struct level level[EXPLORE_LEVELS];
	uint32_t depth;
	uint64_t seed;
	uint64_t random;
};

static struct explore *exploring;

/* Returns a number of the usual run, scaled if fewer states are requested. */
static uint64_t scaled(const struct explore *explore, uint64_t usual)
{
	uint64_t states = explore->limits->states, less;

	if (states >= EXPLORE_STATES)
		return usual;
	less = usual * states / EXPLORE_STATES;
	return less ? less : 1;
}

/* ---------------------------------------------------------------- failures */

static const char *event_text(const struct media_event *event, char text[160])
{
	static const char *const what[] = { "store", "flush", "fence" };
	char place[80];

	if (event->what == MEDIA_FENCE)
		snprintf(text, 160, "fence");
	else
		snprintf(text, 160, "%s of %llu bytes, %s", what[event->what],
			 (unsigned long long)event->size,
			 media_place(event->offset, place));
	return text;
}

static void print_level(const struct level *level, uint32_t depth)
{
	const struct media_trace *trace = &level->world.trace;
	uint32_t at = level->power.at, from = at > 6 ? at - 6 : 0;
	char text[4096];

	printf("# crash %u: cut after event %u of %u, in %s\n", depth + 1, at,
	       trace->events, history_op_at(&level->world.history, at));
	for (uint32_t i = from; i < at; i++)
		printf("#     event %u, actor %u: %s\n", i + 1,
		       trace->event[i].actor,
		       event_text(&trace->event[i], text));
	power_describe(&level->power, text, sizeof(text));
	printf("#   words not durable: %u\n%s", level->power.words, text);
}

static void print_schedule(const struct schedule *schedule)
{
	for (uint32_t i = 0; i < schedule->preemptions; i++)
		printf("# at point %u actor %u continues\n",
		       schedule->at[i].point, schedule->at[i].actor);
}

void explore_print_place(void)
{
	struct explore *explore = exploring;

	if (!explore)
		return;
	printf("# kind %s, seed %llu\n", explore->kind->name,
	       (unsigned long long)explore->seed);
	print_schedule(&explore->level[0].world.schedule);
	for (uint32_t i = 0; i < explore->depth; i++)
		print_level(&explore->level[i], i);
	printf("# repeat: sim --kind %s --seed %llu\n", explore->kind->name,
	       (unsigned long long)explore->seed);
	fflush(stdout);
}

static bool fail(struct explore *explore, const char *what, const char *errmsg)
{
	printf("# %s: %s\n", what, errmsg);
	explore->report->failed = true;
	explore_print_place();
	return false;
}

/* ------------------------------------------------------------------- a run */

/*
 * The state of the pool after all calls have returned must also be one that they can
 * produce.
 */
static bool check_live(struct explore *explore, struct level *level)
{
	struct world *world = &level->world;
	uint32_t count;

	level->has_live = false;
	if (!world->pool)
		return true;
	count = history_candidates(&world->history, world->trace.events,
				   level->candidate);
	if (!oracle_observe(&explore->oracle, world->pool, &level->live))
		return fail(explore, "the living pool", explore->oracle.wrong);
	level->has_live = true;
	for (uint32_t i = 0; i < count && count <= HISTORY_CANDIDATES; i++)
		if (oracle_is_same_space(&level->candidate[i], &level->live))
			return true;
	oracle_difference(&level->candidate[0], &level->live,
			  explore->oracle.wrong,
			  sizeof(explore->oracle.wrong));
	return fail(explore, "the open pool is in a state that its operations cannot produce",
		    explore->oracle.wrong);
}

/* Runs the kind on the medium as it is, then undoes all that it stored. */
static bool run(struct explore *explore, const struct model *base,
		uint64_t seed)
{
	struct level *level = &explore->level[explore->depth];
	struct world *world = &level->world;
	uint64_t offset;
	char place[80];
	bool fine;

	world->segments = explore->kind->segments;
	world_begin(world, base, explore->depth, seed);
	explore->kind->run(world);
	fine = !world_is_wrong(world) && check_live(explore, level);
	if (fine && !explore->depth && !media_is_recorded(&offset))
		fine = fail(explore, "stored without persist",
			    media_place(offset, place));
	world_end(world);
	media_rewind(&world->trace);
	if (!explore->depth)
		report_run(explore->report, &world->history, &world->trace);
	if (world_is_wrong(world))
		return fail(explore, "while it ran", world->wrong);
	return fine;
}

/* -------------------------------------------------------------------- cuts */

static bool try_level(struct explore *explore, const struct model *base,
		      uint64_t states);

/*
 * Cuts of which all states are tried: where cuts begin, and where an operation returns.
 */
static bool is_whole(const struct level *level)
{
	return level->power.at == level->world.from ||
	       history_is_boundary(&level->world.history, level->power.at);
}

/*
 * Returns the largest share with which the cuts' numbers, each limited to it, sum to at
 * most `total`.
 */
static uint64_t fill(const uint64_t *size, uint32_t count, uint64_t total)
{
	uint64_t low = 0, high = UINT32_MAX;

	while (low < high) {
		uint64_t middle = (low + high + 1) / 2, sum = 0;

		for (uint32_t i = 0; i < count; i++)
			sum += size[i] < middle ? size[i] : middle;
		if (sum <= total)
			low = middle;
		else
			high = middle - 1;
	}
	return low;
}

/*
 * The first and the last of several stores get more states, because errors are more
 * likely there.
 */
static bool is_turn(const struct media_trace *trace, uint32_t cut)
{
	const struct media_event *event = &trace->event[cut - 1];

	if (!cut || event->what != MEDIA_STORE)
		return false;
	return cut == 1 || event[-1].what != MEDIA_STORE ||
	       cut == trace->events || event[1].what != MEDIA_STORE;
}

/* Distributes `states` to the cuts of one epoch, between two fences. */
static void share_epoch(struct explore *explore,
			const struct media_trace *trace, uint32_t begin,
			uint64_t *count, uint32_t cuts, uint64_t states)
{
	uint64_t share = fill(count, cuts, states);
	uint64_t turn = scaled(explore, TURN_STATES);

	for (uint32_t i = 0; i < cuts; i++) {
		bool lucky = !share && count[i] &&
			     random_below(&explore->random, cuts) < states;

		if (share < turn && is_turn(trace, begin + i)) {
			explore->report->sampled |= !explore->depth;
			count[i] = count[i] < turn ? count[i] : turn;
			continue;
		}

		if (count[i] > share && !explore->depth)
			explore->report->sampled = true;
		if (count[i] > share)
			count[i] = lucky ? 1 : share;
	}
}

/* Returns the number of states of each cut, before any are left out. */
static void share_out(struct explore *explore, const struct media_trace *trace,
		      uint64_t *count, uint64_t states)
{
	uint64_t *epoch = calloc(trace->events + 1, sizeof(*epoch)), height;
	uint32_t epochs = 0, begin = 0;

	if (!epoch)
		exit(1);
	for (uint32_t i = 0; i <= trace->events; i++) {
		epoch[epochs] += count[i];
		if (i && trace->event[i - 1].what == MEDIA_FENCE)
			epochs++;
	}
	height = fill(epoch, epochs + 1, states);
	for (uint32_t i = 0; i <= trace->events; i++)
		if (i == trace->events ||
		    (i && trace->event[i - 1].what == MEDIA_FENCE)) {
			share_epoch(explore, trace, begin, count + begin,
				    i + 1 - begin, height ? height : 1);
			begin = i + 1;
		}
	free(epoch);
}

/* Decides how many states of each cut are tried, by the number of events before it. */
static uint64_t *plan(struct explore *explore, struct level *level,
		      uint64_t states)
{
	const struct media_trace *trace = &level->world.trace;
	uint64_t *count = calloc(trace->events + 1, sizeof(*count));
	uint64_t cap = explore->limits->subsets;

	if (!count)
		exit(1);
	power_begin(&level->power, trace);
	for (;; power_step(&level->power)) {
		if (level->power.at >= level->world.from)
			count[level->power.at] =
				power_count(&level->power, is_whole(level),
					    cap);
		if (level->power.at == trace->events)
			break;
	}
	power_end(&level->power);
	share_out(explore, trace, count, states);
	for (uint32_t i = 0; i <= trace->events; i++)
		explore->report->cuts += count[i] != 0;
	return count;
}

static void find_candidates(struct explore *explore, struct level *level)
{
	const struct world *world = &level->world;
	uint32_t kept = 0;

	level->candidates = history_candidates(&world->history,
					       level->power.at,
					       level->candidate);
	if (level->candidates > HISTORY_CANDIDATES) {
		printf("# too many orders: give the kind fewer operations\n");
		exit(1);
	}
	if (!level->has_live || level->power.at < world->trace.events)
		return;
	/*
	 * After all calls have returned, only the state that the pool reported is
	 * allowed.
	 */
	for (uint32_t i = 0; i < level->candidates; i++)
		if (oracle_is_same_space(&level->candidate[i], &level->live))
			level->candidate[kept++] = level->candidate[i];
	level->candidates = kept;
	(void)explore;
}

/* The number of states for a run after one more crash. */
static uint64_t states_below(const struct explore *explore)
{
	return scaled(explore, explore->depth + 2 == explore->kind->levels ?
		      LAST_STATES : NESTED_STATES);
}

static bool try_state(struct explore *explore, struct level *level, bool deeper)
{
	uint64_t below = states_below(explore);
	/* Each state of a cut starts with the same boot, process and time. */
	const struct machine met = machine;
	struct model next;
	uint32_t match;

	explore->depth++;
	if (!oracle_judge(&explore->oracle, level->candidate, level->candidates,
			  &match))
		return fail(explore, "recovered", explore->oracle.wrong);
	machine = met;
	explore->report->states++;
	if (explore->depth == explore->kind->levels)
		explore->report->deepest++;
	if (explore->depth > 1 && level->power.at <= level->world.history.op[0].end)
		explore->report->inside++;
	if (deeper) {
		next = level->candidate[match];
		if (!try_level(explore, &next, below))
			return false;
		machine = met;
	}
	explore->depth--;
	return true;
}

/* Tries the states of one cut. Some of them begin the next level. */
static bool try_cut(struct explore *explore, struct level *level,
		    uint64_t states, uint64_t deeper_permille)
{
	bool fine = true, deeper;

	find_candidates(explore, level);
	power_first(&level->power, is_whole(level), states,
		    random_next(&explore->random));
	while (fine && power_next(&level->power)) {
		deeper = random_below(&explore->random, 1000) <
			 deeper_permille * (power_is_simple(&level->power) ?
					    SIMPLE_WEIGHT : 1);
		fine = try_state(explore, level, deeper);
	}
	return fine;
}

/*
 * How many of a thousand states begin a level, so that all those levels together try
 * `states`.
 */
static uint64_t find_odds(const struct explore *explore,
			  const struct media_trace *trace,
			  const uint64_t *count, uint64_t states)
{
	uint64_t own = 0, more;

	if (explore->depth + 1 == explore->kind->levels)
		return 0;
	for (uint32_t i = 0; i <= trace->events; i++)
		own += count[i];
	more = states > own ? states - own : 0;
	return own ? more * 1000 / (own * states_below(explore)) + 1 : 0;
}

/* Cuts a recorded run everywhere. */
static bool try_cuts(struct explore *explore, uint64_t states)
{
	struct level *level = &explore->level[explore->depth];
	const struct media_trace *trace = &level->world.trace;
	bool last = explore->depth + 1 == explore->kind->levels, fine = true;
	uint64_t *count, odds;

	/* At least half of the states are for the levels below. */
	count = plan(explore, level, last ? states : states / 2);
	odds = find_odds(explore, trace, count, states);
	power_begin(&level->power, trace);
	for (; fine; power_step(&level->power)) {
		if (count[level->power.at])
			fine = try_cut(explore, level, count[level->power.at],
				       odds);
		if (level->power.at == trace->events)
			break;
	}
	if (fine)
		power_end(&level->power);
	free(count);
	return fine;
}

static bool try_level(struct explore *explore, const struct model *base,
		      uint64_t states)
{
	if (!run(explore, base, random_next(&explore->random)))
		return false;
	return try_cuts(explore, states);
}

static bool try_runs(struct explore *explore, const struct model *base,
		     uint64_t states)
{
	bool fine = true;

	for (uint32_t i = 0; fine && i < explore->kind->runs; i++)
		fine = try_level(explore, base, states / explore->kind->runs);
	return fine;
}

/* --------------------------------------------------------------- schedules */

/* Tries all schedules with one preemption, then random ones with more. */
static bool next_schedule(struct explore *explore, struct schedule *schedule,
			  uint32_t number, uint32_t points)
{
	uint32_t actors = explore->kind->actors;
	uint32_t single = points * (actors - 1), last = 0;

	memset(schedule, 0, sizeof(*schedule));
	if (number < single) {
		schedule->preemptions = 1;
		schedule->at[0].point = 1 + number / (actors - 1);
		schedule->at[0].actor = 1 + number % (actors - 1);
		return true;
	}
	schedule->preemptions = 2 + random_below(&explore->random,
						  SCHEDULE_PREEMPTIONS - 1);
	for (uint32_t i = 0; i < schedule->preemptions; i++) {
		last += 1 + random_below(&explore->random,
					  points / schedule->preemptions + 1);
		schedule->at[i].point = last;
		schedule->at[i].actor = random_below(&explore->random, actors);
	}
	return true;
}

/*
 * A usual run tries at least every single preemption, and as many random schedules. If
 * there are fewer states, the preemptions are divided into ranges, and a random one of
 * each range is tried.
 */
static bool try_schedules(struct explore *explore, const struct model *base,
			  uint64_t states)
{
	struct world *world = &explore->level[0].world;
	uint64_t seed = random_next(&explore->random);
	uint64_t count = states / SCHEDULE_STATES, most, number;
	uint32_t points;

	memset(&world->schedule, 0, sizeof(world->schedule));
	if (!run(explore, base, seed) || !try_cuts(explore, states / 16))
		return false;
	points = world->points;
	most = 2ull * points * (explore->kind->actors - 1);
	if (count < scaled(explore, most))
		count = scaled(explore, most);
	for (uint64_t i = 0; i < count; i++) {
		number = i;
		if (count < most)
			number = (i * most + random_below(&explore->random,
							  most)) / count;
		next_schedule(explore, &world->schedule, number, points);
		if (!run(explore, base, seed) ||
		    !try_cuts(explore, scaled(explore, SCHEDULE_STATES)))
			return false;
	}
	return true;
}

/* ------------------------------------------------------------------- kinds */

static void setup(struct explore *explore, struct model *ret_base)
{
	struct world *world = &explore->level[0].world;

	memset(ret_base, 0, sizeof(*ret_base));
	world->segments = explore->kind->segments;
	world_begin(world, ret_base, 0, random_next(&explore->random));
	if (explore->kind->setup)
		explore->kind->setup(world);
	world_end(world);
	if (world_is_wrong(world)) {
		printf("# setup: %s\n", world->wrong);
		exit(1);
	}
	if (history_candidates(&world->history, world->trace.events,
			       explore->level[0].candidate) != 1) {
		printf("# setup: the state afterwards is not unique\n");
		exit(1);
	}
	*ret_base = explore->level[0].candidate[0];
}

static struct explore *explore_new(void)
{
	struct explore *explore = calloc(1, sizeof(*explore));

	if (!explore) {
		perror("sim");
		exit(1);
	}
	for (uint32_t i = 0; i < EXPLORE_LEVELS; i++) {
		power_init(&explore->level[i].power);
		explore->level[i].candidate =
			calloc(HISTORY_CANDIDATES, sizeof(struct model));
		if (!explore->level[i].candidate)
			exit(1);
	}
	return explore;
}

static void explore_free(struct explore *explore)
{
	for (uint32_t i = 0; i < EXPLORE_LEVELS; i++) {
		power_fini(&explore->level[i].power);
		free(explore->level[i].candidate);
		media_trace_free(&explore->level[i].world.trace);
	}
	media_trace_free(&explore->oracle.trace);
	free(explore);
}

bool explore_kind(const struct kind *kind, const struct explore_limits *limits,
		  uint64_t seed, struct report *report)
{
	struct explore *explore = explore_new();
	uint64_t states = limits->states * kind->share / ALL_PERCENT;
	struct model base;
	bool fine;

	exploring = explore;
	explore->kind = kind;
	explore->limits = limits;
	explore->report = report;
	explore->seed = explore->random = seed;
	explore->oracle.segments = kind->segments;
	for (const char *c = kind->name; *c; c++)
		explore->random = explore->random * 31 + *c;
	assert(kind->levels && kind->levels <= EXPLORE_LEVELS);
	setup(explore, &base);
	if (kind->special)
		fine = kind->special(kind, &base, seed, report);
	else if (kind->actors > 1)
		fine = try_schedules(explore, &base, states);
	else
		fine = try_runs(explore, &base, states);
	report->recoveries += explore->oracle.opens;
	exploring = NULL;
	explore_free(explore);
	return fine;
}
