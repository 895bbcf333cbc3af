/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The crash simulator: the library's own code on a medium that is a range of
 * memory, whose power is cut at every point of every kind of operation.
 *
 *	media		  the medium of the machine (tests/machine), and the trace of
 *			  what was stored in it
 *	power		  the memory model: what a cut may leave (read it first)
 *	schedule	  actors that take turns
 *	world, history	  an application: its calls, and when they returned
 *	model, oracle	  what must be there after a recovery, and whether it is
 *	explore		  runs a kind, cuts it everywhere, recovers, and cuts that
 *	kinds*		  the kinds of operation that are tried
 *
 * Each kind runs in a process of its own, so that an assertion that fails in
 * the library is a result like any other.
 */
#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "kinds.h"

#define KINDS_MAX	128u
#define LONG_STATES	50000u
#define SUBSETS		(1u << 16)
#define KEPT_MEMORY	(256 << 20)

struct run {
	const struct kind *kind;
	bool has_short;			/* of its list */
	struct report *report;		/* shared with the child */
	FILE *output;			/* what it printed */
	pid_t pid;
	bool ended;
	bool fine;
	bool stopped;			/* killed, because another kind failed */
};

static struct option_values {
	const char *kind;
	const char *except[16];
	uint32_t excepted;
	uint64_t seed;
	uint64_t states;
	unsigned int jobs;
	bool list;
	bool stop;
} chosen = { .seed = 1, .states = EXPLORE_STATES };

static const char usage[] =
	"sim [--kind NAME] [--except NAME]... [--seed N] [--states N | --long]\n    [--jobs N] [--stop] [--list]\n"
	"\n"
	"  --kind NAME   only this kind; NAME* means all kinds that begin with NAME\n"
	"  --except NAME not this kind, or these kinds; up to 16 times\n"
	"  --seed N      start of the random numbers (1); the same N repeats the run\n"
	"  --states N    try about N states of a usual kind, a sample if it has more (3000)\n"
	"  --long        the same as --states 50000\n"
	"  --jobs N      run N kinds at a time (the number of processors)\n"
	"  --stop        stop at the first kind that fails\n"
	"  --list        list the kinds\n";

/* -------------------------------------------------------------- one kind */

static void on_abort(int signal)
{
	printf("# %s\n", signal == SIGABRT ? "an assertion failed" :
	       "a bad memory access");
	explore_print_place();
	_exit(3);
}

static void child(struct run *run)
{
	const struct explore_limits limits = { chosen.states, SUBSETS };
	bool fine;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(fileno(run->output), 1);
	dup2(fileno(run->output), 2);
	signal(SIGABRT, on_abort);
	signal(SIGSEGV, on_abort);
	media_init(run->has_short);
	fine = explore_kind(run->kind, &limits, chosen.seed, run->report);
	fflush(stdout);
	_exit(!fine);
}

static void start(struct run *run)
{
	run->output = tmpfile();
	run->report = mmap(NULL, sizeof(*run->report), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!run->output || run->report == MAP_FAILED) {
		perror("sim");
		exit(1);
	}
	fflush(stdout);
	run->pid = fork();
	if (!run->pid)
		child(run);
	if (run->pid < 0) {
		perror("sim: fork");
		exit(1);
	}
}

/* Waits until one of the children has ended. Returns whether it failed. */
static bool reap(struct run *run, uint32_t count)
{
	bool failed = false;
	int status;
	pid_t pid = wait(&status);

	for (uint32_t i = 0; i < count; i++) {
		if (run[i].pid != pid)
			continue;
		run[i].ended = true;
		run[i].fine = WIFEXITED(status) && !WEXITSTATUS(status);
		if (WIFSIGNALED(status))
			fprintf(run[i].output, "# killed by signal %d\n",
				WTERMSIG(status));
		failed = !run[i].fine;
	}
	return failed;
}

/* Kills the kinds that are running, after one has failed. */
static void stop(struct run *run, uint32_t started)
{
	for (uint32_t i = 0; i < started; i++)
		if (!run[i].ended) {
			run[i].stopped = true;
			kill(run[i].pid, SIGKILL);
		}
}

/* --------------------------------------------------------------- results */

static void copy_output(struct run *run)
{
	char line[4096];

	rewind(run->output);
	while (fgets(line, sizeof(line), run->output))
		printf("%s%s", line[0] == '#' ? "" : "# ", line);
	fclose(run->output);
}

static void print_run(struct run *run, uint32_t number)
{
	const struct report *r = run->report;

	if (run->stopped) {
		printf("ok %u - %s # SKIP another kind failed\n", number,
		       run->kind->name);
		return;
	}
	printf("%sok %u - %s: %s\n", run->fine ? "" : "not ", number,
	       run->kind->name, run->kind->about);
	printf("#   %llu states at %llu cuts of %llu runs%s; %llu recoveries\n",
	       (unsigned long long)r->states, (unsigned long long)r->cuts,
	       (unsigned long long)r->runs, r->sampled ? ", sampled" : ", all",
	       (unsigned long long)r->recoveries);
	copy_output(run);
	fflush(stdout);
}

static void print_table(const struct run *run, uint32_t count)
{
	static struct report all;

	printf("#\n# %-18s %9s %9s %9s %9s %10s\n", "kind", "states", "inside",
	       "chained", "cuts", "recoveries");
	for (uint32_t i = 0; i < count; i++) {
		const struct report *r = run[i].report;

		printf("# %-18s %9llu %9llu %9llu %9llu %10llu\n",
		       run[i].kind->name, (unsigned long long)r->states,
		       (unsigned long long)r->inside,
		       (unsigned long long)r->deepest,
		       (unsigned long long)r->cuts,
		       (unsigned long long)r->recoveries);
		report_add(&all, r);
	}
	printf("# %-18s %9llu %9llu %9llu %9llu %10llu\n#\n", "all",
	       (unsigned long long)all.states, (unsigned long long)all.inside,
	       (unsigned long long)all.deepest, (unsigned long long)all.cuts,
	       (unsigned long long)all.recoveries);
	report_print_ops(&all);
}

/* ------------------------------------------------------------------ main */

static bool is_named(const char *name, const char *pattern)
{
	size_t length = strlen(pattern);

	if (length && pattern[length - 1] == '*')
		return !strncmp(name, pattern, length - 1);
	return !strcmp(name, pattern);
}

static bool is_chosen(const struct kind *kind)
{
	for (uint32_t i = 0; i < chosen.excepted; i++)
		if (is_named(kind->name, chosen.except[i]))
			return false;
	return !chosen.kind || is_named(kind->name, chosen.kind);
}

static uint32_t choose(struct run *run)
{
	static const struct kind_list *const lists[] = {
		&kinds_damage, &kinds_publish, &kinds_batch, &kinds_objects,
		&kinds_together, &kinds_pool, &kinds_reclaim, &kinds_shrink,
		&kinds_short_pool, &kinds_short_shrink,
	};
	uint32_t count = 0;

	for (uint32_t l = 0; l < sizeof(lists) / sizeof(lists[0]); l++)
		for (uint32_t i = 0; i < lists[l]->count; i++)
			if (is_chosen(&lists[l]->kind[i])) {
				assert(count < KINDS_MAX);
				run[count].kind = &lists[l]->kind[i];
				run[count++].has_short = lists[l]->has_short;
			}
	return count;
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "kind", required_argument, NULL, 'k' },
		{ "except", required_argument, NULL, 'x' },
		{ "seed", required_argument, NULL, 's' },
		{ "states", required_argument, NULL, 'n' },
		{ "jobs", required_argument, NULL, 'j' },
		{ "long", no_argument, NULL, 'L' },
		{ "stop", no_argument, NULL, 'S' },
		{ "list", no_argument, NULL, 'l' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (option) {
		case 'k':
			chosen.kind = optarg;
			break;
		case 'x':
			if (chosen.excepted == 16) {
				fputs(usage, stderr);
				exit(2);
			}
			chosen.except[chosen.excepted++] = optarg;
			break;
		case 's':
			chosen.seed = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			chosen.states = strtoull(optarg, NULL, 0);
			break;
		case 'j':
			chosen.jobs = strtoul(optarg, NULL, 0);
			break;
		case 'L':
			chosen.states = LONG_STATES;
			break;
		case 'S':
			chosen.stop = true;
			break;
		case 'l':
			chosen.list = true;
			break;
		default:
			fputs(usage, option == 'h' ? stdout : stderr);
			exit(option == 'h' ? 0 : 2);
		}
	if (!chosen.jobs)
		chosen.jobs = sysconf(_SC_NPROCESSORS_ONLN);
}

static int run_all(struct run *run, uint32_t count)
{
	uint32_t started = 0, printed = 0, wrong = 0, running = 0;
	uint32_t begun = count;

	printf("TAP version 13\n1..%u\n", count);
	while (printed < started || started < begun) {
		while (started < begun && running < chosen.jobs) {
			start(&run[started++]);
			running++;
		}
		if (reap(run, started) && chosen.stop) {
			stop(run, started);
			begun = started;
		}
		running--;
		for (; printed < started && run[printed].ended; printed++) {
			print_run(&run[printed], printed + 1);
			wrong += !run[printed].fine && !run[printed].stopped;
		}
	}
	for (; printed < count; printed++) {
		run[printed].stopped = true;
		print_run(&run[printed], printed + 1);
	}
	print_table(run, started);
	return wrong != 0;
}

/*
 * Each state opens a pool, whose tables are so large that malloc() would map them anew.
 * The page faults took a quarter of the time.
 */
static void keep_memory(void)
{
	mallopt(M_MMAP_THRESHOLD, KEPT_MEMORY);
	mallopt(M_TRIM_THRESHOLD, KEPT_MEMORY);
	mallopt(M_TOP_PAD, KEPT_MEMORY / 4);
}

int main(int argc, char **argv)
{
	static struct run run[KINDS_MAX];
	uint32_t count;

	parse(argc, argv);
	count = choose(run);
	if (!count) {
		fprintf(stderr, "sim: there is no kind %s\n", chosen.kind);
		return 2;
	}
	if (chosen.list) {
		for (uint32_t i = 0; i < count; i++)
			printf("%-18s %s\n", run[i].kind->name,
			       run[i].kind->about);
		return 0;
	}
	keep_memory();
	return run_all(run, count);
}
