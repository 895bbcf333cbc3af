/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uring-copy POOL FROM TO: copies a file into a pool and from there to another file,
 * with 64 requests in flight, and compares what was read, what is in the pool and what
 * was written. POOL is created if it does not exist.
 */
#include <daxpin-uring.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define DEPTH		64		/* requests in flight */
#define BLOCK		(128u << 10)	/* bytes of each */
#define PART		(8u << 20)	/* bytes of an extent */
#define PARTS_A_SEGMENT	3		/* of 32 MiB, with metadata */

struct request {
	struct daxpin_uring_io io;
	uint64_t at;			/* in the file */
	uint32_t left;
	struct request *next;
};

struct copy {
	struct daxpin_pool *pool;
	struct io_uring ring;
	struct daxpin_uring *uring;
	struct daxpin_extent *part;
	uint32_t parts, kept;
	uint64_t size;
	/* The direction that is being copied now. */
	const char *what;
	int fd;
	bool in;
	uint64_t begun, moved;
	uint32_t in_flight;
	struct request request[DEPTH];
	struct request *ready;		/* requests that can be submitted */
	int error;
};

static char errmsg[256];

static int check(const char *what, int ret)
{
	if (ret < 0)
		fprintf(stderr, "uring-copy: %s: %s\n", what,
			errmsg[0] ? errmsg : strerror(-ret));
	errmsg[0] = '\0';
	return ret < 0;
}

/* ---------------------------------------------------------------- requests */

static void show_progress(const struct copy *copy)
{
	unsigned int percent = copy->size ? copy->moved * 100 / copy->size :
			       100;

	if (!isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "\r%-8s [%-50.*s] %3u %%%s", copy->what, percent / 2,
		"==================================================", percent,
		percent == 100 ? "\n" : "");
}

static void put_ready(struct copy *copy, struct request *request)
{
	request->next = copy->ready;
	copy->ready = request;
}

/*
 * Prepares the rest of this request, or the file's next block. Returns false if there
 * is neither.
 */
static bool has_work(struct copy *copy, struct request *request)
{
	uint64_t rest = copy->size - copy->begun;

	if (request->left)
		return true;
	request->at = copy->begun;
	request->left = rest < BLOCK ? rest : BLOCK;
	copy->begun += request->left;
	return request->left;
}

static int prepare(struct copy *copy, struct request *request)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&copy->ring);
	struct daxpin_extent extent = copy->part[request->at / PART];
	int ret;

	if (copy->in)
		ret = daxpin_uring_prep_read(copy->uring, &request->io, sqe,
					     copy->fd, extent,
					     request->at % PART, request->left,
					     request->at);
	else
		ret = daxpin_uring_prep_write(copy->uring, &request->io, sqe,
					      copy->fd, extent,
					      request->at % PART,
					      request->left, request->at);
	if (sqe)
		io_uring_sqe_set_data(sqe, ret ? NULL : request);
	return ret;
}

static int submit(struct copy *copy)
{
	struct request *request;
	int ret = 0;

	while (!ret && (request = copy->ready)) {
		copy->ready = request->next;
		if (!has_work(copy, request))
			continue;
		ret = prepare(copy, request);
		copy->in_flight += !ret;
	}
	if (ret)
		return ret;
	ret = io_uring_submit_and_wait(&copy->ring, copy->in_flight ? 1 : 0);
	return ret < 0 ? ret : 0;
}

/* For daxpin_uring_reap(): finds the request that a completion belongs to. */
static struct daxpin_uring_io *find(const struct io_uring_cqe *cqe, void *arg)
{
	struct request *request = io_uring_cqe_get_data(cqe);

	(void)arg;
	return request ? &request->io : NULL;
}

/* For daxpin_uring_reap(): a request has ended and can be used again. */
static void ended(struct daxpin_uring_io *io, const struct io_uring_cqe *cqe,
		  void *arg)
{
	struct request *request = io_uring_cqe_get_data(cqe);
	struct copy *copy = arg;

	(void)io;
	copy->in_flight--;
	if (cqe->res > 0) {
		request->at += cqe->res;
		request->left -= cqe->res;
		copy->moved += cqe->res;
		put_ready(copy, request);
	} else if (!copy->error) {
		/* The file is shorter than at the start: it was truncated meanwhile. */
		copy->error = cqe->res ? cqe->res : -EIO;
	}
}

/* Requests in flight must end, even after an error. */
static int run(struct copy *copy)
{
	int ret = 0;

	copy->begun = copy->moved = 0;
	copy->ready = NULL;
	for (int i = 0; i < DEPTH; i++) {
		copy->request[i].left = 0;
		put_ready(copy, &copy->request[i]);
	}
	while (!copy->error && copy->moved < copy->size) {
		copy->error = submit(copy);
		ret = daxpin_uring_reap(copy->uring, &copy->ring, find, ended,
					copy);
		if (ret < 0 && !copy->error)
			copy->error = ret;
		show_progress(copy);
	}
	while (copy->in_flight && ret >= 0) {
		ret = io_uring_submit_and_wait(&copy->ring, 1);
		if (ret >= 0)
			ret = daxpin_uring_reap(copy->uring, &copy->ring, find, ended,
					copy);
	}
	return copy->error;
}

/* -------------------------------------------------------------------- hashes */

static int hash_file(int fd, uint64_t size, uint64_t *ret_hash)
{
	static char buffer[BLOCK];
	XXH3_state_t state;
	ssize_t got;

	XXH3_64bits_reset(&state);
	for (uint64_t at = 0; at < size; at += got) {
		got = pread(fd, buffer, sizeof(buffer), at);
		if (got < 0)
			return -errno;
		if (!got)
			break;
		XXH3_64bits_update(&state, buffer, got);
	}
	*ret_hash = XXH3_64bits_digest(&state);
	return 0;
}

static uint64_t hash_pool(const struct copy *copy)
{
	XXH3_state_t state;

	XXH3_64bits_reset(&state);
	for (uint64_t at = 0; at < copy->size; at += PART) {
		uint64_t rest = copy->size - at;

		XXH3_64bits_update(&state,
				   daxpin_ptr(copy->pool,
					      copy->part[at / PART], 0),
				   rest < PART ? rest : PART);
	}
	return XXH3_64bits_digest(&state);
}

/* ------------------------------------------------------------------ the copy */

/* Publishes the extents, which makes what was read durable. */
static int keep_all(struct copy *copy)
{
	for (uint32_t i = 0; i < copy->parts; i++) {
		struct daxpin_op keep = {
			.type = DAXPIN_OP_KEEP,
			.extent = copy->part[i]
		};
		int ret = daxpin_publish(copy->pool, &keep, 1, NULL, NULL);

		if (ret)
			return ret;
		copy->kept++;
	}
	return 0;
}

/* Leaves the pool as it was before. */
static int remove_all(struct copy *copy)
{
	int error = 0;

	for (uint32_t i = 0; i < copy->parts; i++) {
		struct daxpin_op retire = {
			.type = DAXPIN_OP_RETIRE, .extent = copy->part[i]
		};
		int ret = i < copy->kept ?
			  daxpin_publish(copy->pool, &retire, 1, NULL, NULL) :
			  daxpin_cancel(copy->pool, retire.extent);

		error = error ? error : ret;
	}
	free(copy->part);
	return error;
}

static int reserve_all(struct copy *copy)
{
	copy->part = calloc((copy->size + PART - 1) / PART + 1,
			    sizeof(*copy->part));
	if (!copy->part)
		return -ENOMEM;
	for (uint64_t at = 0; at < copy->size; at += PART) {
		uint64_t rest = copy->size - at;
		int ret = daxpin_reserve(copy->pool, rest < PART ? rest : PART,
					 0, &copy->part[copy->parts]);

		if (ret)
			return ret;
		copy->parts++;
	}
	return 0;
}

/* Pins the memory before requests wait for it. If that is impossible, as on a DAX
 * filesystem or because of RLIMIT_MEMLOCK, requests are plain. */
static void prepare_all(struct copy *copy)
{
	for (uint32_t i = 0; i < copy->parts; i++)
		daxpin_uring_prepare(copy->uring, copy->part[i]);
}

static int there_and_back(struct copy *copy, int from, int to)
{
	uint64_t before, inside, after;

	prepare_all(copy);
	copy->what = "reading";
	copy->fd = from;
	copy->in = true;
	if (check("read", run(copy)) ||
	    check("publish", keep_all(copy)))
		return 1;
	copy->what = "writing";
	copy->fd = to;
	copy->in = false;
	if (check("write", run(copy)) ||
	    check("compare", hash_file(from, copy->size, &before)) ||
	    check("compare", hash_file(to, copy->size, &after)))
		return 1;
	inside = hash_pool(copy);
	if (before != inside || inside != after) {
		fprintf(stderr, "uring-copy: the copies differ: %016llx read, %016llx in the pool, %016llx written\n",
			(unsigned long long)before, (unsigned long long)inside,
			(unsigned long long)after);
		return 1;
	}
	printf("%llu bytes in %u extents; the three hashes are equal: %016llx\n",
	       (unsigned long long)copy->size, copy->parts,
	       (unsigned long long)after);
	return 0;
}

static int with_space(struct copy *copy, int from, int to)
{
	struct daxpin_uring_info info = { .size = sizeof(info) };
	int ret = check("reserve", reserve_all(copy)) ||
		  there_and_back(copy, from, to);

	ret |= check("remove", remove_all(copy));
	if (!daxpin_uring_info(copy->uring, &info))
		printf("%u of %u segments were fixed buffers, %llu requests were plain\n",
		       info.fixed_segments,
		       info.fixed_segments + info.plain_segments,
		       (unsigned long long)info.fallbacks);
	return ret;
}

static int with_ring(struct copy *copy, int from, int to)
{
	struct daxpin_uring_options options = {
		.size = sizeof(options),
		.label = "uring-copy", .errmsg = errmsg,
		.errmsg_size = sizeof(errmsg),
	};
	int ret;

	if (check("ring", io_uring_queue_init(DEPTH, &copy->ring, 0)))
		return 1;
	ret = check("attach", daxpin_uring_attach(copy->pool, &copy->ring,
						  &options, &copy->uring));
	if (!ret) {
		ret = with_space(copy, from, to);
		ret |= check("detach", daxpin_uring_detach(copy->uring));
	}
	io_uring_queue_exit(&copy->ring);
	return ret;
}

/* Opens the pool, or creates one. It must be large enough. */
static int open_pool(struct copy *copy, const char *path)
{
	uint64_t parts = (copy->size + PART - 1) / PART;
	struct daxpin_pool_options options = {
		.size = sizeof(options), .flags = DAXPIN_POOL_CREATE,
		.segment_size = 32 << 20,
		.pool_size = (parts / PARTS_A_SEGMENT + 2) * (32 << 20),
		.errmsg = errmsg, .errmsg_size = sizeof(errmsg),
	};

	return check("open", daxpin_pool_open(path, &options, &copy->pool));
}

int main(int argc, char **argv)
{
	static struct copy copy;
	struct stat st;
	int from, to, ret;

	if (argc != 4)
		return fprintf(stderr, "usage: uring-copy POOL FROM TO\n"), 2;
	from = open(argv[2], O_RDONLY | O_CLOEXEC);
	if (from < 0 || fstat(from, &st))
		return perror(argv[2]), 1;
	if (!S_ISREG(st.st_mode))
		return fprintf(stderr, "uring-copy: %s is not a regular file\n",
			       argv[2]), 1;
	copy.size = st.st_size;
	to = open(argv[3], O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (to < 0)
		return perror(argv[3]), 1;
	if (open_pool(&copy, argv[1]))
		return 1;
	ret = with_ring(&copy, from, to);
	ret |= check("close", daxpin_pool_close(copy.pool));
	if (close(to))
		ret = (perror(argv[3]), 1);
	close(from);
	return ret;
}
