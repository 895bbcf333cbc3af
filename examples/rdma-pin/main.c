/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rdma-pin: a demonstration of what daxpin promises, with measured times.
 *
 * The program checks every claim that it prints. If one is wrong the exit status is 1.
 * With --unsafe the same accesses are made without daxpin's protection, to show what
 * it prevents.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "narrate.h"
#include "peer.h"
#include "rdma-pin.h"

#define SIZE_DEFAULT	(UINT64_C(64) << 20)
#define WAIT_MS		5000
/* A create reads up to 1 GiB of a device that may be blank. */
#define CREATE_MS	600000

enum option_code {
	OPTION_POOL = 256,
	OPTION_DEVICE,
	OPTION_SLOW,
	OPTION_CREATE,
	OPTION_SIZE,
	OPTION_UNSAFE,
	OPTION_SAFE,
	OPTION_JSON,
	OPTION_SERVER,
	OPTION_CLIENT,
	OPTION_ROLE,
	OPTION_HELP,
};

static const struct option options[] = {
	{ "pool", required_argument, NULL, OPTION_POOL },
	{ "device", required_argument, NULL, OPTION_DEVICE },
	{ "slow", required_argument, NULL, OPTION_SLOW },
	{ "create", no_argument, NULL, OPTION_CREATE },
	{ "size", required_argument, NULL, OPTION_SIZE },
	{ "unsafe", no_argument, NULL, OPTION_UNSAFE },
	{ "json", no_argument, NULL, OPTION_JSON },
	{ "server", required_argument, NULL, OPTION_SERVER },
	{ "client", required_argument, NULL, OPTION_CLIENT },
	{ "help", no_argument, NULL, OPTION_HELP },
	/* The program starts itself with these, in another role. */
	{ "role", required_argument, NULL, OPTION_ROLE },
	{ "safe", no_argument, NULL, OPTION_SAFE },
	{ NULL, 0, NULL, 0 },
};

struct arguments {
	struct stage stage;
	const char *role;
	const char *server, *client;
	uint64_t size;
	bool create;
};

static const char usage[] =
"usage: rdma-pin --pool PATH [OPTION...]\n"
"       rdma-pin --client HOST [--device NAME]\n"
"\n"
"Demonstrates what daxpin promises: a block is never reused while DMA can still\n"
"reach it, be it by RDMA, by io_uring, or from an owner that was killed.\n"
"\n"
"  --pool PATH	a device-dax node, or a directory on a DAX filesystem or\n"
"		tmpfs; if it has no content, a pool is created there\n"
"  --create	create a new pool, and overwrite whatever is at PATH\n"
"  --size BYTES	size of a new pool in a directory (K, M, G; default 64M)\n"
"  --device NAME	the RDMA device (default: the first)\n"
"  --slow DISK	read from a disk or file whose reads take 300 ms or more, such\n"
"		as a dm-delay target (default: read from a pipe)\n"
"  --unsafe	the same without daxpin's protection: shows the corruption\n"
"  --server ADDRESS	only the RDMA part; its peers are started by\n"
"		`rdma-pin --client ADDRESS` on another machine\n"
"  --json	print one JSON object a line\n"
"\n"
"Exit status: 0 if every claim held (--unsafe: if corruption was shown), 1 if\n"
"not, 2 if it could not be tried.\n";

/* ------------------------------------------------------------- arguments */

static uint64_t parse_size(const char *text)
{
	unsigned long long value;
	unsigned int shift = 0;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (*end == 'K' || *end == 'M' || *end == 'G') {
		shift = *end == 'K' ? 10 : *end == 'M' ? 20 : 30;
		end++;
	}
	if (errno || *end || *text < '0' || *text > '9' || !value ||
	    value > UINT64_MAX >> shift)
		give_up("--size %s: not a size like 64M", text);
	return (uint64_t)value << shift;
}

static void take_option(struct arguments *arguments, int code)
{
	switch (code) {
	case OPTION_POOL:	arguments->stage.pool_path = optarg; break;
	case OPTION_DEVICE:	arguments->stage.device = optarg; break;
	case OPTION_SLOW:	arguments->stage.slow = optarg; break;
	case OPTION_CREATE:	arguments->create = true; break;
	case OPTION_SIZE:	arguments->size = parse_size(optarg); break;
	case OPTION_UNSAFE:	arguments->stage.unsafe = true; break;
	case OPTION_SAFE:	arguments->stage.unsafe = false; break;
	case OPTION_JSON:	print_as_json(); break;
	case OPTION_SERVER:	arguments->server = optarg; break;
	case OPTION_CLIENT:	arguments->client = optarg; break;
	case OPTION_ROLE:	arguments->role = optarg; break;
	case OPTION_HELP:
		fputs(usage, stdout);
		exit(0);
	default:
		/* getopt_long() has printed the wrong option. */
		fputs("rdma-pin: --help lists the options\n", stderr);
		exit(2);
	}
}

static void parse(struct arguments *arguments, int argc, char **argv)
{
	int code;

	while ((code = getopt_long(argc, argv, "", options, NULL)) != -1)
		take_option(arguments, code);
	if (optind < argc)
		give_up("%s: not an option; --help lists them", argv[optind]);
}

/* ------------------------------------------------------------ preparation */

static void find_device(struct stage *stage)
{
	static char name[64];
	const char *found = nic_find(stage->device, name, sizeof(name));

	if (!found && stage->device)
		give_up("%s: no RDMA device has that name", stage->device);
	stage->device = found;
	if (!found)
		stage->no_rdma = "this machine has no RDMA device; soft-RoCE makes one from any network device: modprobe rdma_rxe; rdma link add rxe0 type rxe netdev lo";
}

static void check_slow(const struct stage *stage)
{
	struct stat slow;

	if (stage->slow && stat(stage->slow, &slow))
		give_up("--slow %s: %s", stage->slow, strerror(errno));
}

static int create(const struct arguments *arguments, uint32_t flags,
		  char *errmsg,
		  size_t errmsg_size)
{
	struct daxpin_pool_options pool_options = {
		.size = sizeof(pool_options),
		.flags = flags,
		.deadline_ns = daxpin_deadline_ms(CREATE_MS),
		.errmsg = errmsg,
		.errmsg_size = errmsg_size,
	};
	struct daxpin_pool *pool;
	struct stat place;
	int err;

	if (stat(arguments->stage.pool_path, &place) ||
	    S_ISDIR(place.st_mode)) {
		pool_options.pool_size = arguments->size ? arguments->size :
					 SIZE_DEFAULT;
		if (pool_options.pool_size < 2 * DAXPIN_SEGMENT_DEFAULT)
			pool_options.segment_size = DAXPIN_SEGMENT_MIN;
	} else if (arguments->size) {
		give_up("--size is for directories: a pool on a device takes the whole device");
	}
	err = daxpin_pool_create(arguments->stage.pool_path, &pool_options,
				 &pool);
	if (!err)
		must(daxpin_pool_close(pool), "daxpin_pool_close");
	return err;
}

/* Makes sure that there is a pool at the path. --create makes a new one. */
static void prepare_pool(const struct arguments *arguments)
{
	const char *path = arguments->stage.pool_path;
	char errmsg[256] = "", why_create[256] = "";
	struct daxpin_pool_options pool_options = {
		.size = sizeof(pool_options),
		.deadline_ns = daxpin_deadline_ms(CREATE_MS),
		.errmsg = errmsg,
		.errmsg_size = sizeof(errmsg),
	};
	struct daxpin_pool *pool;
	int err;

	if (arguments->create) {
		if (create(arguments, DAXPIN_POOL_OVERWRITE, errmsg,
			   sizeof(errmsg)))
			give_up("%s", errmsg);
		return;
	}
	err = daxpin_pool_open(path, &pool_options, &pool);
	if (!err) {
		must(daxpin_pool_close(pool), "daxpin_pool_close");
		return;
	}
	if (err == -EBUSY)
		give_up("%s", errmsg);
	err = create(arguments, 0, why_create, sizeof(why_create));
	if (err == -EEXIST)
		give_up("%s has no pool that can be opened (%s) and is not empty: --create overwrites it with a new pool",
			path, errmsg);
	if (err)
		give_up("%s", why_create);
}

static void print_place(struct stage *stage)
{
	static const char *const sources[] = {
		[DAXPIN_SOURCE_DEVDAX] = "device-dax",
		[DAXPIN_SOURCE_FSDAX] = "on a DAX filesystem",
		[DAXPIN_SOURCE_SHMEM] = "on tmpfs",
		[DAXPIN_SOURCE_DISK] = "on an ordinary disk",
	};
	struct daxpin_pool_info info = { .size = sizeof(info) };
	struct daxpin_pool *pool;

	print_section("pool", "%s", stage->pool_path);
	pool = open_pool(stage, WAIT_MS);
	must(daxpin_pool_info(pool, &info), "daxpin_pool_info");
	must(daxpin_pool_close(pool), "daxpin_pool_close");
	fact("segments", info.segments);
	fact("usable_bytes", info.usable_bytes);
	fact("free_bytes", info.free_bytes);
	print_event("pool", "%s, daxpin %s: %u segments, %" PRIu64 " usable bytes, %" PRIu64 " free",
		    sources[info.source], daxpin_version(), info.segments,
		    info.usable_bytes, info.free_bytes);
	if (info.source == DAXPIN_SOURCE_DISK)
		give_up("%s is on an ordinary disk, which daxpin does not let hardware write to: use a device-dax node, or a directory on a DAX filesystem or tmpfs",
			stage->pool_path);
}

/* ---------------------------------------------------------------- demos */

static const struct {
	const char *name;
	void (*run)(struct stage *stage);
} demos[] = {
	{ "rdma", demo_rdma },
	{ "io_uring", demo_uring },
	{ "crash", demo_crash },
};

#define DEMOS		(sizeof(demos) / sizeof(demos[0]))

static void skip_rdma(const struct stage *stage)
{
	print_section("rdma", "a remote peer writes to %s", stage->pool_path);
	print_event("skip", "skipped: %s", stage->no_rdma);
}

static int sum_up(const struct stage *stage, const uint64_t corrupted[DEMOS])
{
	unsigned int shown = 0, i;

	print_section("end", "%u claims held, %u were wrong", claims_held(),
		      claims_wrong());
	if (!stage->unsafe)
		return claims_wrong() != 0;
	for (i = 0; i < DEMOS; i++) {
		fact("corrupted_bytes", corrupted[i]);
		print_event(demos[i].name, "%s: %s (%" PRIu64 " bytes)",
			    demos[i].name,
			    corrupted[i] ? "corruption shown" :
			    demos[i].run == demo_rdma && stage->no_rdma ?
			    "skipped" : "no corruption shown", corrupted[i]);
		shown += corrupted[i] != 0;
	}
	return shown == 0;
}

static int run_all(struct stage *stage, bool remote)
{
	uint64_t corrupted[DEMOS] = { 0 };
	unsigned int i;

	for (i = 0; i < DEMOS; i++) {
		stage->corrupted = 0;
		if (remote && demos[i].run != demo_rdma)
			continue;
		if (demos[i].run == demo_rdma && stage->no_rdma)
			skip_rdma(stage);
		else
			demos[i].run(stage);
		corrupted[i] = stage->corrupted;
	}
	return sum_up(stage, corrupted);
}

int main(int argc, char **argv)
{
	struct arguments arguments = { .role = NULL };
	struct stage *stage = &arguments.stage;

	parse(&arguments, argc, argv);
	if (arguments.role && !strcmp(arguments.role, "peer"))
		return peer_main(stage->device);
	if (arguments.client) {
		find_device(stage);
		if (!stage->device)
			give_up("%s", stage->no_rdma);
		return peers_send(arguments.client, stage->device);
	}
	if (!stage->pool_path)
		give_up("--pool PATH is missing: a device-dax node, or a directory on a DAX filesystem or tmpfs");
	if (arguments.role && !strcmp(arguments.role, "owner"))
		return owner_main(stage);
	signal(SIGPIPE, SIG_IGN);
	find_device(stage);
	check_slow(stage);
	prepare_pool(&arguments);
	print_place(stage);
	if (arguments.server && stage->no_rdma)
		give_up("%s", stage->no_rdma);
	if (arguments.server)
		peers_expect(arguments.server);
	return run_all(stage, arguments.server);
}
