/* SPDX-License-Identifier: BSD-3-Clause */
/* Arguments, pools and preloaded peers of the benchmarks: see bench.h. */
#include "bench.h"
#include "remove_tree.h"
#include "../support/rings.h"

#include <dlfcn.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_BYTES	200
#define ARGUMENTS	"--threads N --seconds S --directory DIR --once --size BYTES --live N --segments N --untouched"

/* ------------------------------------------------------------------- ending */

static void bench_complain(const char *format, va_list list)
{
	fprintf(stderr, "%s: ", program_invocation_short_name);
	vfprintf(stderr, format, list);
	fputc('\n', stderr);
}

void bench_die(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	bench_complain(format, list);
	va_end(list);
	exit(1);
}

void bench_skip(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	bench_complain(format, list);
	va_end(list);
	exit(BENCH_SKIPPED);
}

void bench_need_io_uring(void)
{
	const char *reason = lacks_io_uring();

	if (reason)
		bench_skip("%s", reason);
}

void must(int ret, const char *what)
{
	if (ret < 0)
		bench_die("%s: %s", what, daxpin_strerror(ret));
}

/* ---------------------------------------------------------------- arguments */

static _Noreturn void bench_usage(void)
{
	fprintf(stderr, "usage: %s [%s] TEST PEER\n",
		program_invocation_short_name, ARGUMENTS);
	exit(2);
}

/* "4096", "64K", "2M". 0 is an error, because nothing here may be 0. */
static uint64_t bench_number(const char *text)
{
	char *end;
	uint64_t number = strtoull(text, &end, 0);

	if (*end == 'K' || *end == 'M' || *end == 'G')
		number <<= *end == 'K' ? 10 : *end == 'M' ? 20 : 30, end++;
	if (*end || !number)
		bench_usage();
	return number;
}

static void bench_option(struct bench *bench, int option)
{
	switch (option) {
	case 't': bench->threads = bench_number(optarg); break;
	case 's': bench->seconds = atof(optarg); break;
	case 'd': bench->directory = optarg; break;
	case 'o': bench->once = true; break;
	case 'b': bench->size = bench_number(optarg); break;
	case 'l': bench->live = bench_number(optarg); break;
	case 'g': bench->segments = bench_number(optarg); break;
	case 'u': bench->untouched = true; break;
	default: bench_usage();
	}
}

void bench_parse(struct bench *bench, int argc, char **argv)
{
	static const struct option options[] = {
		{ "threads", required_argument, NULL, 't' },
		{ "seconds", required_argument, NULL, 's' },
		{ "directory", required_argument, NULL, 'd' },
		{ "once", no_argument, NULL, 'o' },
		{ "size", required_argument, NULL, 'b' },
		{ "live", required_argument, NULL, 'l' },
		{ "segments", required_argument, NULL, 'g' },
		{ "untouched", no_argument, NULL, 'u' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	*bench = (struct bench) {
		.directory = "/dev/shm", .seconds = 2, .threads = 1,
		.size = DAXPIN_BLOCK_SIZE,
	};
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		bench_option(bench, option);
	if (optind + 2 != argc)
		bench_usage();
	bench->test = argv[optind];
	bench->peer = argv[optind + 1];
}

/* -------------------------------------------------------------------- pools */

static char bench_top[PATH_BYTES];
static pid_t bench_maker;

/* A child that exits must not remove its parent's pools. */
static void bench_remove(void)
{
	if (getpid() == bench_maker)
		remove_tree(bench_top);
}

const char *bench_path(const struct bench *bench, const char *name)
{
	static char path[PATH_BYTES + 40];

	if (!bench_maker) {
		snprintf(bench_top, sizeof(bench_top), "%s/daxpin-bench-XXXXXX",
			 bench->directory);
		if (!mkdtemp(bench_top))
			bench_die("%s: %s", bench_top, strerror(errno));
		bench_maker = getpid();
		atexit(bench_remove);
	}
	snprintf(path, sizeof(path), "%s/%s", bench_top, name);
	return path;
}

struct daxpin_pool *bench_pool(const struct bench *bench, uint64_t bytes)
{
	uint64_t segment = bench->once ? DAXPIN_SEGMENT_MIN :
					 DAXPIN_SEGMENT_DEFAULT;
	uint64_t segments = bytes / (segment - DAXPIN_CHUNK_SIZE) + 1;
	uint64_t least = bench->segments ? bench->segments : (uint64_t)bench->threads;
	static char errmsg[512];
	struct daxpin_pool_options options = {
		.size = sizeof(options), .segment_size = segment,
		.pool_size = (segments < least ? least : segments) * segment,
		.granularity = bench->durable ? DAXPIN_GRANULARITY_CACHE_LINE :
						DAXPIN_GRANULARITY_AUTO,
		.errmsg = errmsg, .errmsg_size = sizeof(errmsg),
	};
	struct daxpin_pool *pool;

	must(daxpin_pool_create(bench_path(bench, "pool"), &options, &pool),
	     errmsg);
	return pool;
}

/* -------------------------------------------------------------------- peers */

#define ALREADY	"DAXPIN_BENCH_PEER"	/* set in the second run */

static const struct malloc_peer {
	const char *name, *library, *package;
} malloc_peers[] = {
	{ "glibc", NULL, NULL },
	{ "tcmalloc", "libtcmalloc_minimal.so.4", "libtcmalloc-minimal4" },
	{ "mimalloc", "libmimalloc.so.2", "libmimalloc2.0" },
	{ "jemalloc", "libjemalloc.so.2", "libjemalloc2" },
};

#if defined(__has_feature)
#define HAS_FEATURE(feature)	__has_feature(feature)
#else
#define HAS_FEATURE(feature)	0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    HAS_FEATURE(address_sanitizer) || HAS_FEATURE(thread_sanitizer)
#define SANITIZED	true
#else
#define SANITIZED	false
#endif

bool bench_is_sanitized(void)
{
	return SANITIZED;
}

static void bench_run_with(char **argv, const char *name, const char *value)
{
	setenv(name, value, 1);
	setenv(ALREADY, value, 1);
	execv("/proc/self/exe", argv);
	bench_die("cannot run again with %s=%s: %s", name, value,
		  strerror(errno));
}

static bool bench_malloc_is_of(const char *library)
{
	Dl_info info;

	return dladdr(dlsym(RTLD_DEFAULT, "malloc"), &info) &&
	       strstr(info.dli_fname, library);
}

static void bench_preload(const struct malloc_peer *peer, char **argv)
{
	if (SANITIZED)
		bench_skip("%s: a sanitizer brings its own malloc()", peer->name);
	if (bench_malloc_is_of(peer->library))
		return;
	if (getenv(ALREADY))
		bench_skip("%s is not installed: it is %s, in Debian's %s",
			   peer->name, peer->library, peer->package);
	bench_run_with(argv, "LD_PRELOAD", peer->library);
}

bool bench_become(const struct bench *bench, char **argv)
{
	size_t count = sizeof(malloc_peers) / sizeof(malloc_peers[0]);

	for (size_t i = 0; i < count; i++) {
		if (strcmp(bench->peer, malloc_peers[i].name))
			continue;
		if (malloc_peers[i].library)
			bench_preload(&malloc_peers[i], argv);
		return true;
	}
	/* libpmem reads this variable before main() begins. */
	if (!strcmp(bench->peer, "pmemobj") && !getenv(ALREADY))
		bench_run_with(argv, "PMEM_IS_PMEM_FORCE", "1");
	return false;
}
