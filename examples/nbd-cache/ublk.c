/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daxpin-ublk: the cache as a block device, by Linux's ublk driver. daxpin-ublk(1) is
 * its manual.
 *
 * Each tag of each queue has a thread with a ring and a buffer. The thread fetches a
 * request, calls the cache, and commits the result. The calls block: a read that misses
 * waits for the disk, a write can wait for space. With a thread for each tag the queues
 * stay as deep as they are, and no request is passed from one thread to another. Before
 * Linux 6.16 one thread must serve all tags of a queue, so there a queue has one tag.
 *
 * The kernel copies data between a request and the thread's buffer. Zero copy is not
 * requested: pins of the driver outlive a killed server, but the pool's lock does not
 * (docs/kernel.md K36).
 *
 * A write is answered when it is durable. So the device has no volatile cache, and the
 * kernel has no reason to send a flush or to wait for a FUA write.
 *
 * If the server dies, the device remains with the requests that were not answered
 * (UBLK_F_USER_RECOVERY_REISSUE), and the next server gets them again. It can execute
 * them a second time: they have the same data for the same place, and the first
 * execution has ended, because cache_open() returns only when no thread and no DMA of
 * the dead server can reach the pool. The device records the cache's id, and no other
 * cache can take it over.
 */
#include "control.h"
#include "ublk_driver.h"
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <liburing.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define RECOVERY	(UBLK_F_USER_RECOVERY | UBLK_F_USER_RECOVERY_REISSUE)
#define BUFFER		(1u << 20)	/* bytes of a read or write, at most */
#define TRIM		(64u << 20)	/* bytes of a trim or zero, at most */
#define PHYSICAL_SHIFT	12
#define SECTOR		512u		/* the unit of the driver */
#define POLL_NS		10000000l
#define TIMEOUT_MS	"1000"

enum {
	SIZE = 1, POOL_SIZE, BLOCK, LOW, HIGH, LIMIT, WAIT, ID, QUEUES, DEPTH, LOGICAL,
	NUMBERS
};

static struct number {
	const char *name;
	uint64_t min, max, value;
} numbers[NUMBERS] = {
	[SIZE] = { "size", SECTOR, INT64_MAX, 0 },
	[POOL_SIZE] = { "pool-size", 1, INT64_MAX, 0 },
	[BLOCK] = { "block", CACHE_BLOCK_MIN, CACHE_BLOCK_MAX, 0 },
	[LOW] = { "low", 0, 100, 45 },
	[HIGH] = { "high", 0, 100, 50 },
	[LIMIT] = { "limit", 1, 100, 0 },
	[WAIT] = { "wait", 0, 1000000, 10 },
	[ID] = { "id", 0, (1u << 20) - 1, UINT32_MAX },
	[QUEUES] = { "queues", 1, 64, 0 },
	[DEPTH] = { "depth", 1, 256, 32 },
	[LOGICAL] = { "logical-block", 512, 4096, 512 },
};

static const char *pool, *disk, *control;
static int recover, delete, accept_disk, degraded;
static bool late;			/* see shorten_timeout() */

/* A tag of a queue. */
struct slot {
	uint16_t queue, tag;
	const struct ublksrv_io_desc *request;
	void *buffer;
	struct io_uring ring;
	pthread_t thread;
};

static struct cache *cache;
static struct ublksrv_ctrl_dev_info device = { .dev_id = UINT32_MAX };
static bool unfinished;			/* made, but not started yet */
static int file = -1;			/* /dev/ublkcN */
static struct slot *slots;
static uint32_t slot_count;

/* ----------------------------------------------------------------------- messages */

static void say(const char *message)
{
	fprintf(stderr, "daxpin-ublk: %s\n", message);
}

static int fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int fail(const char *format, ...)
{
	char message[1024];
	va_list list;

	va_start(list, format);
	vsnprintf(message, sizeof(message), format, list);
	va_end(list);
	say(message);
	return -1;
}

/* Threads wait in the kernel, so this process cannot end in another way. A device that
 * was started remains for the next server. */
static _Noreturn void die(const char *what, int error)
{
	fail("%s: %s", what, strerror(error));
	if (unfinished)
		ublk_control(UBLK_U_CMD_DEL_DEV_ASYNC, device.dev_id, NULL, 0, 0);
	_exit(1);
}

/* ----------------------------------------------------------------------- requests */

static int execute(const struct slot *slot)
{
	const struct ublksrv_io_desc *request = slot->request;
	uint64_t offset = request->start_sector * SECTOR;
	uint64_t count = (uint64_t)request->nr_sectors * SECTOR;
	uint8_t op = ublksrv_get_op(request);
	int ret = -EOPNOTSUPP;

	if (op == UBLK_IO_OP_FLUSH)
		return 0;
	if (op == UBLK_IO_OP_READ)
		ret = cache_read(cache, slot->buffer, count, offset);
	else if (op == UBLK_IO_OP_WRITE)
		ret = cache_write(cache, slot->buffer, count, offset);
	else if (op == UBLK_IO_OP_DISCARD)
		ret = cache_trim(cache, count, offset);
	else if (op == UBLK_IO_OP_WRITE_ZEROES)
		ret = cache_zero(cache, count, offset);
	if (ret)
		fail("operation %u on %" PRIu64 " bytes at %" PRIu64 " failed: %s",
		     op, count, offset, strerror(-ret));
	return ret ? ret : (int)count;
}

/* Returns what the driver says: there is a request, or the device was stopped. */
static int exchange(struct slot *slot, uint32_t command, int result)
{
	const struct ublksrv_io_cmd with = {
		.q_id = slot->queue, .tag = slot->tag, .result = result,
		.addr = (uintptr_t)slot->buffer,
	};
	struct io_uring_sqe *sqe = io_uring_get_sqe(&slot->ring);
	struct io_uring_cqe *cqe;
	int ret;

	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, file, NULL, 0, command);
	memcpy(sqe->cmd, &with, sizeof(with));
	do {
		ret = io_uring_submit_and_wait(&slot->ring, 1);
	} while (ret == -EINTR);
	if (ret < 0 || io_uring_peek_cqe(&slot->ring, &cqe))
		die("a ring failed", ret < 0 ? -ret : EIO);
	ret = cqe->res;
	io_uring_cqe_seen(&slot->ring, cqe);
	return ret;
}

static void *serve(void *arg)
{
	struct slot *slot = arg;
	int ret = exchange(slot, UBLK_U_IO_FETCH_REQ, 0);

	while (ret == UBLK_IO_RES_OK)
		ret = exchange(slot, UBLK_U_IO_COMMIT_AND_FETCH_REQ,
			       execute(slot));
	if (ret != UBLK_IO_RES_ABORT)
		die("a request cannot be fetched from the driver", -ret);
	kill(getpid(), SIGTERM);	/* if another process stopped the device */
	return NULL;
}

/* -------------------------------------------------------------------------- slots */

/* The driver's descriptions of a queue's requests. */
static const struct ublksrv_io_desc *map_queue(uint16_t queue)
{
	size_t page = sysconf(_SC_PAGESIZE), size = sizeof(struct ublksrv_io_desc);
	size_t most = (UBLK_MAX_QUEUE_DEPTH * size + page - 1) / page * page;
	const void *at = mmap(NULL, device.queue_depth * size, PROT_READ,
			      MAP_SHARED, file, UBLKSRV_CMD_BUF_OFFSET +
			      (off_t)queue * most);

	if (at == MAP_FAILED)
		die("a queue of the driver cannot be mapped", errno);
	return at;
}

static void open_file(void)
{
	char path[32];

	snprintf(path, sizeof(path), "/dev/ublkc%u", device.dev_id);
	file = open(path, O_RDWR | O_CLOEXEC);
	if (file < 0)
		die(path, errno);
}

/* The threads fetch requests before the driver starts to send them. */
static void start_threads(void)
{
	const struct ublksrv_io_desc *requests = NULL;
	char *buffers;
	int ret = 0;

	open_file();
	slot_count = (uint32_t)device.nr_hw_queues * device.queue_depth;
	slots = calloc(slot_count, sizeof(*slots));
	buffers = mmap(NULL, (size_t)slot_count * BUFFER, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (!slots || buffers == MAP_FAILED)
		die("there is no memory for the requests", ENOMEM);
	for (uint32_t i = 0; !ret && i < slot_count; i++) {
		struct slot *slot = &slots[i];

		slot->queue = i / device.queue_depth;
		slot->tag = i % device.queue_depth;
		if (!slot->tag)
			requests = map_queue(slot->queue);
		slot->request = &requests[slot->tag];
		slot->buffer = buffers + (size_t)i * BUFFER;
		ret = -io_uring_queue_init(1, &slot->ring, 0);
		ret = ret ? : pthread_create(&slot->thread, NULL, serve, slot);
	}
	if (ret)
		die("a thread with a ring cannot be started", ret);
}

/* The device was stopped. A delete waits until its file is closed and not mapped. */
static void end_threads(void)
{
	for (uint32_t i = 0; i < slot_count; i++) {
		pthread_join(slots[i].thread, NULL);
		io_uring_queue_exit(&slots[i].ring);
	}
	for (uint32_t i = 0; i < slot_count; i += device.queue_depth)
		munmap((void *)slots[i].request,
		       device.queue_depth * sizeof(*slots[i].request));
	close(file);
}

/* ------------------------------------------------------------------------- device */

static int get_info(void)
{
	return ublk_control(UBLK_U_CMD_GET_DEV_INFO, numbers[ID].value, &device,
			    sizeof(device), 0);
}

static int check_driver(void)
{
	uint64_t features = 0;
	int ret = ublk_control(UBLK_U_CMD_GET_FEATURES, UINT32_MAX, &features,
			       sizeof(features), 0);

	if (ret == -ENOENT || ret == -ENXIO || ret == -ENODEV)
		return fail("there is no " UBLK_CONTROL ": load the module ublk_drv (modprobe ublk_drv); Linux 6.5 or later has all that is needed");
	if (ret == -EACCES || ret == -EPERM)
		return fail(UBLK_CONTROL ": %s: a server of a device needs root's rights",
			    strerror(-ret));
	if (ret == -EINVAL || ret == -EOPNOTSUPP)
		return fail("the driver ublk_drv of this kernel does not report its features: Linux 6.5 or later is needed");
	if (ret)
		return fail(UBLK_CONTROL ": %s", strerror(-ret));
	if ((features & RECOVERY) != RECOVERY)
		return fail("the driver ublk_drv of this kernel cannot give a device to another server (UBLK_F_USER_RECOVERY_REISSUE): Linux 6.5 or later is needed");
	late = !(features & UBLK_F_PER_IO_DAEMON);
	if (late && numbers[DEPTH].value > 1) {
		numbers[DEPTH].value = 1;
		say("each queue has one request at a time, since this kernel's ublk_drv has no UBLK_F_PER_IO_DAEMON (Linux 6.16)");
	}
	return 0;
}

static unsigned int shift_of(uint64_t power)
{
	return __builtin_ctzll(power);
}

static int set_params(void)
{
	const struct ublk_params params = {
		.len = sizeof(params),
		.types = UBLK_PARAM_TYPE_BASIC | UBLK_PARAM_TYPE_DISCARD,
		.basic = {
			.logical_bs_shift = shift_of(numbers[LOGICAL].value),
			.physical_bs_shift = PHYSICAL_SHIFT,
			.io_opt_shift = shift_of(cache_block(cache)),
			.io_min_shift = shift_of(cache_block(cache)),
			.max_sectors = BUFFER / SECTOR,
			.dev_sectors = cache_size(cache) / SECTOR,
		},
		.discard = {
			.discard_granularity = cache_block(cache),
			.max_discard_sectors = TRIM / SECTOR,
			.max_write_zeroes_sectors = TRIM / SECTOR,
			.max_discard_segments = 1,
		},
	};

	return ublk_control(UBLK_U_CMD_SET_PARAMS, device.dev_id, &params,
			    sizeof(params), 0);
}

static int add_device(void)
{
	uint64_t cpus = sysconf(_SC_NPROCESSORS_ONLN);
	int ret;

	if (cache_size(cache) % numbers[LOGICAL].value)
		return fail("the volume has %" PRIu64 " bytes, which is not a multiple of logical-block, %" PRIu64,
			    cache_size(cache), numbers[LOGICAL].value);
	device = (struct ublksrv_ctrl_dev_info){
		.nr_hw_queues = numbers[QUEUES].value ? : cpus < 4 ? cpus : 4,
		.queue_depth = numbers[DEPTH].value, .max_io_buf_bytes = BUFFER,
		.dev_id = numbers[ID].value, .ublksrv_pid = getpid(),
		.flags = RECOVERY, .ublksrv_flags = cache_id(cache),
	};
	ret = ublk_control(UBLK_U_CMD_ADD_DEV, numbers[ID].value, &device,
			   sizeof(device), 0);
	if (ret == -EEXIST)
		return fail("the device %" PRIu64 " exists: if its server has died, use --recover or --delete, otherwise another --id",
			    numbers[ID].value);
	if (ret)
		return fail("the driver does not add a device: %s", strerror(-ret));
	unfinished = true;
	ret = set_params();
	if (ret)
		die("the driver does not accept the device's parameters", -ret);
	return 0;
}

/* The pool is open, so the last server has died, but the driver learns that later. */
static int take_over(void)
{
	const struct timespec pause = { .tv_nsec = POLL_NS };
	uint64_t tries = numbers[WAIT].value * (1000000000 / POLL_NS);
	int ret;

	while ((ret = ublk_control(UBLK_U_CMD_START_USER_RECOVERY, device.dev_id,
				   NULL, 0, 0)) == -EBUSY && tries--)
		nanosleep(&pause, NULL);
	if (ret == -EBUSY)
		return fail("the device %u still has a server, process %d; wait longer with --wait, or end that process",
			    device.dev_id, device.ublksrv_pid);
	if (ret)
		return fail("the device %u cannot be recovered: %s", device.dev_id,
			    strerror(-ret));
	return 0;
}

static bool is_ours(void)
{
	return (device.flags & RECOVERY) == RECOVERY && device.ublksrv_flags;
}

/*
 * With --recover: finds the device, if there is one, and which cache it had. One whose
 * server died before it started the device, or after it stopped it, has no block device
 * and no requests, so it is made again.
 */
static int find_device(struct cache_options *options)
{
	int ret = recover ? get_info() : -ENODEV;

	if (!ret && device.state == UBLK_S_DEV_DEAD && is_ours())
		ret = ublk_control(UBLK_U_CMD_DEL_DEV, device.dev_id, NULL, 0, 0) ? :
		      -ENODEV;
	if (ret == -ENODEV) {
		recover = false;
		return 0;
	}
	if (ret)
		return fail("the device %" PRIu64 ": %s", numbers[ID].value,
			    strerror(-ret));
	if (!is_ours())
		return fail("the device %u is not one of daxpin-ublk, so it cannot be recovered",
			    device.dev_id);
	options->id = device.ublksrv_flags;
	options->size = options->pool_size = options->block = 0;
	return 0;
}

/* -------------------------------------------------------------------- begin and end */

/* For systemd, with Type=notify. */
static void report_ready(void)
{
	const char *path = getenv("NOTIFY_SOCKET"), *ready = "READY=1";
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd;

	printf("/dev/ublkb%u\n", device.dev_id);
	fflush(stdout);
	if (!path || strlen(path) >= sizeof(to.sun_path))
		return;
	strcpy(to.sun_path, path);
	if (*path == '@')
		to.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || sendto(fd, ready, strlen(ready), 0, (struct sockaddr *)&to,
			     offsetof(struct sockaddr_un, sun_path) +
			     strlen(path)) < 0)
		fail("%s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

/*
 * Before Linux 6.16 the driver learns that a server has died from the commands of the
 * server that wait for a request. If the server had all requests of a queue, no command
 * waits, and the driver learns it when one of these requests times out, by default
 * after 30 s. The timeout has no effect on the requests of a server that lives.
 */
static void shorten_timeout(void)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/sys/block/ublkb%u/queue/io_timeout",
		 device.dev_id);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, TIMEOUT_MS, strlen(TIMEOUT_MS)) < 0)
		fail("%s: %s: a recovery can take 30 s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

static void start(void)
{
	int ret;

	start_threads();
	ret = ublk_control(recover ? UBLK_U_CMD_END_USER_RECOVERY :
			   UBLK_U_CMD_START_DEV, device.dev_id, NULL, 0, getpid());
	if (ret)
		die("the driver does not start the device", -ret);
	unfinished = false;
	if (late)
		shorten_timeout();
	report_ready();
}

/* Does a filesystem or another device use it? */
static bool is_in_use(void)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/dev/ublkb%u", device.dev_id);
	fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);
	if (fd < 0)
		return errno == EBUSY;
	close(fd);
	return false;
}

static void stop(void)
{
	ublk_control(UBLK_U_CMD_STOP_DEV, device.dev_id, NULL, 0, 0);
	end_threads();
	ublk_control(UBLK_U_CMD_DEL_DEV, device.dev_id, NULL, 0, 0);
}

static void serve_until_signal(const sigset_t *signals)
{
	int number;

	start();
	for (;;) {
		sigwait(signals, &number);
		if (!is_in_use())
			break;
		fail("/dev/ublkb%u is in use, so the server continues; unmount it first",
		     device.dev_id);
	}
	stop();
}

static int end_cache(void)
{
	int ret;

	control_stop();
	ret = cache_close(cache);
	return ret ? fail("the pool %s was not closed: %s", pool, strerror(-ret)) : 0;
}

/* Memory that this process allocates must not be freed by writing to the device. */
static void avoid_own_device(void)
{
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0))
		fail("PR_SET_IO_FLUSHER: %s: if memory is short, the server can wait for itself",
		     strerror(errno));
}

static int open_cache(void)
{
	char errmsg[512] = "";
	struct cache_options options = {
		.pool = pool, .disk = disk, .size = numbers[SIZE].value,
		.pool_size = numbers[POOL_SIZE].value,
		.block = numbers[BLOCK].value, .low = numbers[LOW].value,
		.high = numbers[HIGH].value, .limit = numbers[LIMIT].value,
		.wait_ms = numbers[WAIT].value * 1000,
		.accept_disk = accept_disk, .degraded = degraded, .dashes = true,
		.log = say, .errmsg = errmsg, .errmsg_size = sizeof(errmsg),
	};
	int ret;

	if (find_device(&options))
		return -1;
	ret = cache_open(&options, &cache);
	if (ret)
		fail("%s: %s", strerror(-ret), errmsg[0] ? errmsg : pool);
	if (options.id && (ret == -ENOENT || ret == -EMEDIUMTYPE))
		fail("the device %u remains as it was; it can be recovered only with its pool and its disk: give them, or if they are gone, use --delete --id=%u",
		     device.dev_id, device.dev_id);
	return ret;
}

static int run(void)
{
	sigset_t signals;
	int ret;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);	/* of clients of the control socket */
	avoid_own_device();
	if (open_cache())
		return -1;
	ret = control ? control_start(cache, control) : 0;
	if (ret)
		fail("--control=%s: %s", control, control_reason(ret));
	else
		ret = recover ? take_over() : add_device();
	if (!ret)
		serve_until_signal(&signals);
	return end_cache() ? : ret;
}

/* --delete: of a device whose server has died. */
static int delete_device(void)
{
	int ret = get_info();

	if (!ret && device.state == UBLK_S_DEV_LIVE)
		return fail("the device %u has a server, process %d: end that process",
			    device.dev_id, device.ublksrv_pid);
	if (!ret)
		ret = ublk_control(UBLK_U_CMD_DEL_DEV_ASYNC, device.dev_id, NULL,
				   0, 0);
	if (ret)
		return fail("the device %" PRIu64 " is not deleted: %s",
			    numbers[ID].value, strerror(-ret));
	return 0;
}

/* ------------------------------------------------------------------------ options */

static const struct option options[] = {
	{ "disk", required_argument, NULL, 'd' },
	{ "control", required_argument, NULL, 'c' },
	{ "accept-disk", no_argument, &accept_disk, true },
	{ "degraded", no_argument, &degraded, true },
	{ "recover", no_argument, &recover, true },
	{ "delete", no_argument, &delete, true },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'v' },
	{ "size", required_argument, NULL, SIZE },
	{ "pool-size", required_argument, NULL, POOL_SIZE },
	{ "block", required_argument, NULL, BLOCK },
	{ "low", required_argument, NULL, LOW },
	{ "high", required_argument, NULL, HIGH },
	{ "limit", required_argument, NULL, LIMIT },
	{ "wait", required_argument, NULL, WAIT },
	{ "id", required_argument, NULL, ID },
	{ "queues", required_argument, NULL, QUEUES },
	{ "depth", required_argument, NULL, DEPTH },
	{ "logical-block", required_argument, NULL, LOGICAL },
	{ 0 },
};

static const char help[] =
	"Usage: daxpin-ublk [OPTION...] POOL\n"
	"       daxpin-ublk --delete --id=N\n"
	"\n"
	"Serve a disk with a crash-safe write-back cache, or a volume that is in the\n"
	"pool alone, as the block device /dev/ublkbN. POOL is a directory or a\n"
	"device-dax node.\n"
	"\n"
	"  --disk=PATH            the disk behind the cache\n"
	"  --size=SIZE            of a new volume without a disk\n"
	"  --pool-size=SIZE       create the pool if there is none\n"
	"  --block=SIZE           of a new cache: 4K to 1M, a power of two (64K)\n"
	"  --low=PERCENT          write-back ends if less of the pool is dirty (45)\n"
	"  --high=PERCENT         write-back begins if more of the pool is dirty (50)\n"
	"  --limit=PERCENT        use that much of the pool, give back the rest (100)\n"
	"  --control=PATH         a Unix socket that takes: stats, limit PERCENT\n"
	"  --wait=SECONDS         for the last owner of pool and disk (10)\n"
	"  --accept-disk          the disk has the same contents, but another identity\n"
	"  --degraded             use what is intact in a damaged pool\n"
	"  --id=N                 of the device (the first that is free)\n"
	"  --recover              take over the device N if it exists\n"
	"  --queues=N             of the device (one for each CPU, at most 4)\n"
	"  --depth=N              requests of a queue at a time (32)\n"
	"  --logical-block=SIZE   of the device: 512 or 4096 (512)\n"
	"  --delete               delete the device N, whose server has died";

static int parse_number(struct number *number, const char *text)
{
	static const char units[] = "KMGT";
	const char *unit;
	char *end;
	uint64_t value;

	errno = 0;
	value = strtoull(text, &end, 10);
	unit = *end ? strchr(units, *end) : NULL;
	for (const char *u = units; unit && u <= unit; u++)
		if (__builtin_mul_overflow(value, 1024, &value))
			errno = ERANGE;
	if (errno || end == text || *text == '-' || end[unit != NULL] ||
	    value < number->min || value > number->max)
		return fail("--%s=%s must be a number from %" PRIu64 " to %" PRIu64,
			    number->name, text, number->min, number->max);
	number->value = value;
	return 0;
}

static int check_power(const struct number *number)
{
	if (!(number->value & (number->value - 1)))
		return 0;
	return fail("--%s=%" PRIu64 " must be a power of two from %" PRIu64 " to %" PRIu64,
		    number->name, number->value, number->min, number->max);
}

static int check_options(int left)
{
	if (recover || delete)
		if (numbers[ID].value == UINT32_MAX)
			return fail("--%s needs the device's number: --id=N",
				    delete ? "delete" : "recover");
	if (left != !delete)
		return fail(delete ? "--delete needs no POOL" :
			    "one POOL is needed: a directory on a DAX filesystem or tmpfs, or a device-dax node");
	if (numbers[LOW].value > numbers[HIGH].value)
		return fail("--low=%" PRIu64 " must not be above --high=%" PRIu64,
			    numbers[LOW].value, numbers[HIGH].value);
	if (numbers[LOGICAL].value != 512 && numbers[LOGICAL].value != 4096)
		return fail("--logical-block=%" PRIu64 " must be 512 or 4096",
			    numbers[LOGICAL].value);
	return check_power(&numbers[BLOCK]);
}

static int parse(int argc, char **argv)
{
	int letter;

	while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if ((letter == 'd' || letter == 'c') && !*optarg) {
			fail("--%s= is empty: give a path, or leave it out",
			     letter == 'd' ? "disk" : "control");
			return '?';
		}
		if (letter == 'd')
			disk = optarg;
		else if (letter == 'c')
			control = optarg;
		else if (letter >= NUMBERS)
			return letter;
		else if (letter && parse_number(&numbers[letter], optarg))
			return '?';
	}
	if (check_options(argc - optind))
		return '?';
	pool = argv[optind];
	return 0;
}

int main(int argc, char **argv)
{
	int letter = parse(argc, argv);

	if (letter == '?')
		return 2;
	if (letter)
		return puts(letter == 'h' ? help : "daxpin-ublk " DAXPIN_VERSION) < 0;
	if (check_driver())
		return 1;
	return (delete ? delete_device() : run()) ? 1 : 0;
}
