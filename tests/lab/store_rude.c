/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * store_rude ADDRESS CASE [ARGUMENT...]: clients of rdma-target that break the rules,
 * for tests/lab/store. Exit status 0: the target and its device answered as they must.
 *
 *   messages		sends requests with wrong fields, and of wrong lengths
 *   edges		accesses what is around its grant, and uses the key of another
 *			client
 *   late ROUNDS	writes with its key after it has sent the commit, to a target
 *			that revokes and publishes late (slow_commit.c)
 *   replace ROUNDS	two clients put blocks with one name, which one of them gets
 *   same ROUNDS BYTES	two clients put the same new name, which is then retired
 *   abandon COUNT BYTES  asks for a grant and disconnects, COUNT times
 *   keep BYTES		asks for a grant, and writes until it is revoked
 *   nag		asks for a grant, and sends wrong requests until it is cut off
 *   silent [BYTES]	sends nothing, or after a put of BYTES, until it is disconnected
 *   foreign		requests with names that are not of blocks (see make-foreign)
 *   names		puts blocks until the target has no more names, and retires them
 *
 * store_rude make-foreign POOL: makes a pool of 64 MiB with such names.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "conn.h"

#define ANSWER_MS	600000	/* to end a test that hangs */
#define SIZE		UINT64_C(70001)
#define LATE		64	/* bytes of a write after the commit */
#define SAME_MS		800	/* twice as long as slow_commit.c waits */

static const char *address;

/* A connection, memory for its data, and its grant. */
struct rude {
	struct conn conn;
	uint64_t size;
	unsigned char *bytes;
	struct ibv_mr *mr;
	struct daxpin_grant_key key;
};

static void expect(const char *what, long long got, long long wanted)
{
	if (got == wanted)
		return;
	printf("%s: %lld (%s), not %lld\n", what, got,
	       got < 0 ? strerror((int)-got) : "", wanted);
	exit(1);
}

static void begin(struct rude *rude, uint64_t size)
{
	*rude = (struct rude) { .conn.stop_fd = -1, .size = size };
	expect("connect", conn_connect(&rude->conn, address, STORE_PORT), 0);
	rude->bytes = mmap(NULL, size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	expect("memory", rude->bytes != MAP_FAILED, 1);
	rude->mr = ibv_reg_mr(rude->conn.id->qp->pd, rude->bytes, size,
			      IBV_ACCESS_LOCAL_WRITE);
	expect("region", !!rude->mr, 1);
}

static void end(struct rude *rude)
{
	expect("deregister", ibv_dereg_mr(rude->mr), 0);
	munmap(rude->bytes, rude->size);
	conn_close(&rude->conn);
}

/* ---------------------------------------------------------------- requests */

/* Returns the status, or the error of the connection. */
static int ask(struct rude *rude, const struct message *request,
	       struct message *answer)
{
	int err = conn_send(&rude->conn, request);

	if (!err)
		err = conn_receive(&rude->conn, ANSWER_MS, answer);
	if (!err)
		err = conn_expect(&rude->conn);
	return err ? err : answer->status;
}

static struct message request_of(uint32_t type, const char *name)
{
	struct message request = { .version = STORE_VERSION, .type = type };

	if (name)
		snprintf(request.name, sizeof(request.name), "%s", name);
	return request;
}

static int ask_simply(struct rude *rude, uint32_t type, const char *name)
{
	struct message request = request_of(type, name), answer;

	return ask(rude, &request, &answer);
}

static int ask_for_grant(struct rude *rude, const struct message *request,
			 struct message *answer)
{
	int status = ask(rude, request, answer);

	if (!status)
		expect("import", daxpin_grant_import(answer->grant,
						     sizeof(answer->grant),
						     &rude->key), 0);
	return status;
}

static int put(struct rude *rude, const char *name)
{
	struct message request = request_of(MESSAGE_PUT, name), answer;

	request.size = rude->size;
	return ask_for_grant(rude, &request, &answer);
}

static int transfer(struct rude *rude, enum ibv_wr_opcode opcode, int64_t at,
		    uint64_t length)
{
	return conn_transfer(&rude->conn, opcode, rude->mr, 0, length,
			     rude->key.addr + (uint64_t)at, rude->key.rkey);
}

static struct message commit_of(const struct rude *rude)
{
	struct message request = request_of(MESSAGE_COMMIT, NULL);

	request.hash = XXH3_64bits(rude->bytes, rude->size);
	return request;
}

static int put_whole(struct rude *rude, const char *name, int byte)
{
	struct message request, answer;
	int err = put(rude, name);

	if (err)
		return err;
	memset(rude->bytes, byte, rude->size);
	expect("write", transfer(rude, IBV_WR_RDMA_WRITE, 0, rude->size), 0);
	request = commit_of(rude);
	return ask(rude, &request, &answer);
}

/* The block must be whole: of one byte, and with the hash that belongs to it. */
static int get_whole(struct rude *rude, const char *name)
{
	struct message request = request_of(MESSAGE_GET, name), answer;
	int status = ask_for_grant(rude, &request, &answer);

	if (status)
		return status;
	expect("size", answer.size <= rude->size, 1);
	expect("length", (long long)rude->key.length, (long long)answer.size);
	expect("read", transfer(rude, IBV_WR_RDMA_READ, 0, answer.size), 0);
	expect("done", ask_simply(rude, MESSAGE_DONE, NULL), 0);
	expect("hash", XXH3_64bits(rude->bytes, answer.size) == answer.hash, 1);
	for (uint64_t i = 1; i < answer.size; i++)
		expect("byte", rude->bytes[i], rude->bytes[0]);
	return 0;
}

/* -------------------------------------------------------------- messages */

static const struct wrong {
	struct message request;
	int status;
} wrongs[] = {
	{ { .version = 1, .type = MESSAGE_GET, .name = "m" }, -EPROTONOSUPPORT },
	{ { .version = ~0U, .type = MESSAGE_GET, .name = "m" }, -EPROTONOSUPPORT },
#define REQUEST .version = STORE_VERSION, .type
	{ { REQUEST = 0 }, -EPROTO },
	{ { REQUEST = MESSAGE_RETIRE + 1, .name = "m" }, -EPROTO },
	{ { REQUEST = ~0U }, -EPROTO },
	{ { REQUEST = MESSAGE_GET, .name = "m", .status = 1 }, -EINVAL },
	{ { REQUEST = MESSAGE_GET, .name = "m", .zero = 1 }, -EINVAL },
	{ { REQUEST = MESSAGE_GET, .name = "m", .grant[95] = 1 }, -EINVAL },
	{ { REQUEST = MESSAGE_GET, .name = "m", .size = 1 }, -EINVAL },
	{ { REQUEST = MESSAGE_GET, .name = "m", .hash = 1 }, -EINVAL },
	{ { REQUEST = MESSAGE_GET }, -EINVAL },
	{ { REQUEST = MESSAGE_GET, .name = "m" }, -ENOENT },
	{ { REQUEST = MESSAGE_PUT, .size = 1 }, -EINVAL },
	{ { REQUEST = MESSAGE_PUT, .name = "m" }, -EINVAL },
	{ { REQUEST = MESSAGE_PUT, .name = "m", .size = 1, .hash = 1 }, -EINVAL },
	{ { REQUEST = MESSAGE_PUT, .name = "m", .size = UINT64_MAX }, -EFBIG },
	{ { REQUEST = MESSAGE_PUT, .name = "m", .size = UINT64_MAX - 63 }, -EFBIG },
	{ { REQUEST = MESSAGE_PUT, .name = "m", .size = DAXPIN_SEGMENT_MAX },
	  -EFBIG },
	{ { REQUEST = MESSAGE_COMMIT, .name = "m" }, -EINVAL },
	{ { REQUEST = MESSAGE_COMMIT, .size = 1 }, -EINVAL },
	{ { REQUEST = MESSAGE_COMMIT, .hash = 1 }, -EINVAL },
	{ { REQUEST = MESSAGE_DONE, .hash = 1 }, -EINVAL },
	{ { REQUEST = MESSAGE_DONE }, -EINVAL },
	{ { REQUEST = MESSAGE_RETIRE }, -EINVAL },
	{ { REQUEST = MESSAGE_RETIRE, .name = "m" }, -ENOENT },
#undef REQUEST
};

static void send_wrong_fields(struct rude *rude)
{
	struct message request, answer;
	char what[32];

	for (size_t i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
		snprintf(what, sizeof(what), "request %zu", i);
		expect(what, ask(rude, &wrongs[i].request, &answer),
		       wrongs[i].status);
	}
	for (uint32_t type = MESSAGE_PUT; type <= MESSAGE_RETIRE; type++) {
		request = request_of(type, NULL);
		request.size = type == MESSAGE_PUT;
		memset(request.name, 'm', sizeof(request.name));
		expect("a name without end", ask(rude, &request, &answer), -EINVAL);
	}
}

/* The session goes on after each of these. */
static void send_in_wrong_order(struct rude *rude)
{
	struct message commit;
	struct message answer;

	expect("put", put(rude, "m"), 0);
	expect("put with a grant", put(rude, "m"), -EBUSY);
	expect("get with a grant", ask_simply(rude, MESSAGE_GET, "m"), -EBUSY);
	expect("done with a name", ask_simply(rude, MESSAGE_DONE, "m"), -EINVAL);
	memset(rude->bytes, 'm', rude->size);
	commit = commit_of(rude);
	expect("commit of other data", ask(rude, &commit, &answer), -EBADMSG);
	expect("a second commit", ask(rude, &commit, &answer), -EINVAL);
	expect("put", put(rude, "m"), 0);
	expect("done after put", ask_simply(rude, MESSAGE_DONE, NULL), 0);
	expect("get", ask_simply(rude, MESSAGE_GET, "m"), -ENOENT);
	expect("put", put_whole(rude, "m", 1), 0);
	expect("get", ask_simply(rude, MESSAGE_GET, "m"), 0);
	expect("commit after get", ask(rude, &commit, &answer), -EINVAL);
	expect("retire while it is read", ask_simply(rude, MESSAGE_RETIRE, "m"), 0);
	expect("done", ask_simply(rude, MESSAGE_DONE, NULL), 0);
	expect("get", ask_simply(rude, MESSAGE_GET, "m"), -ENOENT);
}

/* The target must not take the rest from the message before. */
static void send_length(uint64_t length)
{
	struct message answer;
	struct rude rude;
	int err;

	begin(&rude, SIZE);
	expect("put", put_whole(&rude, "m", 2), 0);
	rude.conn.out = request_of(MESSAGE_RETIRE, "m");
	expect("post", rdma_post_send(rude.conn.id, NULL, &rude.conn.out, length,
				      rude.conn.mr, 0), 0);
	err = conn_complete(&rude.conn);
	if (!err)
		err = conn_receive(&rude.conn, ANSWER_MS, &answer);
	expect("a message of another length", err,
	       length > sizeof(answer) ? -EIO : -ECONNRESET);
	end(&rude);
	begin(&rude, SIZE);
	expect("get", get_whole(&rude, "m"), 0);
	end(&rude);
}

static void run_messages(char **arguments)
{
	static const uint64_t lengths[] = { 0, 175, 177 };
	struct rude rude;

	(void)arguments;
	begin(&rude, SIZE);
	send_wrong_fields(&rude);
	send_in_wrong_order(&rude);
	end(&rude);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
		send_length(lengths[i]);
}

/* ----------------------------------------------------------------- edges */

static const struct edge {
	const char *what;
	uint32_t grant;			/* a put's or a get's */
	enum ibv_wr_opcode opcode;
	int64_t at;
	uint64_t length;
} edges[] = {
	{ "write the whole header", MESSAGE_PUT, IBV_WR_RDMA_WRITE, -64, 64 },
	{ "write before the data", MESSAGE_PUT, IBV_WR_RDMA_WRITE, -1, 1 },
	{ "write across the begin", MESSAGE_PUT, IBV_WR_RDMA_WRITE, -1, 2 },
	{ "write behind the data", MESSAGE_PUT, IBV_WR_RDMA_WRITE, SIZE, 1 },
	{ "write across the end", MESSAGE_PUT, IBV_WR_RDMA_WRITE, SIZE - 1, 2 },
	{ "read the header", MESSAGE_PUT, IBV_WR_RDMA_READ, -64, 64 },
	{ "read behind the data", MESSAGE_PUT, IBV_WR_RDMA_READ, SIZE, 1 },
	{ "write what it may read", MESSAGE_GET, IBV_WR_RDMA_WRITE, 0, 1 },
	{ "write the header of a block", MESSAGE_GET, IBV_WR_RDMA_WRITE, -64, 64 },
	{ "read the header of a block", MESSAGE_GET, IBV_WR_RDMA_READ, -64, 64 },
	{ "read behind a block", MESSAGE_GET, IBV_WR_RDMA_READ, SIZE, 1 },
};

/* A refusal ends the connection, so each edge has one of its own. */
static void try_edge(const struct edge *edge)
{
	struct message get = request_of(MESSAGE_GET, "e"), answer;
	struct rude rude;

	begin(&rude, SIZE);
	expect("grant", edge->grant == MESSAGE_PUT ? put(&rude, "e") :
	       ask_for_grant(&rude, &get, &answer), 0);
	if (edge->grant == MESSAGE_PUT) {
		expect("first byte", transfer(&rude, IBV_WR_RDMA_WRITE, 0, 1), 0);
		expect("last byte", transfer(&rude, IBV_WR_RDMA_WRITE, SIZE - 1, 1),
		       0);
	}
	expect(edge->what, transfer(&rude, edge->opcode, edge->at, edge->length),
	       -EACCES);
	end(&rude);
}

static void use_key_of_another_client(void)
{
	struct rude owner, thief;
	struct message commit, answer;

	begin(&owner, SIZE);
	begin(&thief, SIZE);
	expect("put", put(&owner, "e"), 0);
	memset(owner.bytes, 'o', SIZE);
	expect("write", transfer(&owner, IBV_WR_RDMA_WRITE, 0, SIZE), 0);
	thief.key = owner.key;
	expect("write with the key of another client",
	       transfer(&thief, IBV_WR_RDMA_WRITE, 0, 1), -EACCES);
	commit = commit_of(&owner);
	expect("commit", ask(&owner, &commit, &answer), 0);
	end(&thief);
	end(&owner);
}

static void run_edges(char **arguments)
{
	struct rude rude;

	(void)arguments;
	begin(&rude, SIZE);
	expect("put", put_whole(&rude, "e", 3), 0);
	for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++)
		try_edge(&edges[i]);
	expect("get", get_whole(&rude, "e"), 0);
	expect("its bytes", rude.bytes[0], 3);
	use_key_of_another_client();
	expect("get", get_whole(&rude, "e"), 0);
	expect("its bytes", rude.bytes[0], 'o');
	expect("put", put_whole(&rude, "e", 4), 0);
	expect("write with the old key",
	       transfer(&rude, IBV_WR_RDMA_WRITE, 0, SIZE), -EACCES);
	end(&rude);
	begin(&rude, SIZE);
	expect("get", get_whole(&rude, "e"), 0);
	expect("its bytes", rude.bytes[0], 4);
	end(&rude);
}

/* ------------------------------------------------------------------ late */

/* Few bytes, so that they arrive at once. */
static int post_write(struct rude *rude)
{
	struct ibv_sge sge = { (uintptr_t)rude->bytes, LATE, rude->mr->lkey };
	struct ibv_send_wr wr = {
		.sg_list = &sge, .num_sge = 1, .opcode = IBV_WR_RDMA_WRITE,
		.wr.rdma.remote_addr = rude->key.addr,
		.wr.rdma.rkey = rude->key.rkey,
	};
	struct ibv_send_wr *bad;

	return -ibv_post_send(rude->conn.id->qp, &wr, &bad);
}

/*
 * Sends the commit, and goes on to write until the device refuses it: the same bytes
 * for same_ms, and then others.
 */
static unsigned int commit_and_write(struct rude *rude, unsigned int same_ms)
{
	struct message commit = commit_of(rude);
	uint64_t end_ms = conn_now_ms() + same_ms;
	unsigned int writes = 0;
	int err;

	rude->conn.out = message_swap(commit);
	expect("commit", rdma_post_send(rude->conn.id, NULL, &rude->conn.out,
					sizeof(commit), rude->conn.mr, 0), 0);
	err = conn_complete(&rude->conn);
	for (; !err; writes++) {
		if (conn_now_ms() >= end_ms)
			memset(rude->bytes, 'x', LATE);
		err = post_write(rude);
		if (!err)
			err = conn_complete(&rude->conn);
	}
	expect("the last write", err == -EACCES || err == -ECONNRESET ||
	       err == -ETIMEDOUT, 1);
	return writes;
}

/*
 * In even rounds the other bytes arrive before the revoke, which is late. The target
 * must find them by the hash, so it must not compare that earlier. In odd rounds they
 * would arrive after the publish has begun, if there were no revoke before. Such a
 * commit succeeds, except on a very busy host: one must.
 */
static void run_late(char **arguments)
{
	unsigned int kept = 0, rounds = (unsigned int)atoi(arguments[0]);
	unsigned int writes = 0, i;
	struct rude rude;

	begin(&rude, SIZE);
	expect("put", put_whole(&rude, "l", 5), 0);
	end(&rude);
	for (i = 0; i < rounds || !kept; i++) {
		begin(&rude, SIZE);
		expect("put", put(&rude, "l"), 0);
		memset(rude.bytes, 6, SIZE);
		expect("write", transfer(&rude, IBV_WR_RDMA_WRITE, 0, SIZE), 0);
		writes += commit_and_write(&rude, i % 2 ? SAME_MS : i * 60 % 400);
		end(&rude);
		begin(&rude, SIZE);
		expect("get", get_whole(&rude, "l"), 0);
		expect("a late byte", rude.bytes[0] == 'x', 0);
		kept += rude.bytes[0] == 6;
		end(&rude);
	}
	printf("%u of %u commits succeeded, beside %u writes\n", kept, i, writes);
	/* Otherwise slow_commit.c has no effect, and this shows nothing. */
	expect("a commit beside other bytes fails", kept < i, 1);
}

/* ------------------------------------------------- the same name, or none */

struct one {
	pthread_t thread;
	int which;			/* 0 or 1 */
	char **arguments;
	pthread_barrier_t *together;
};

/* Calls run in two threads at the same time. A fork would share the verbs context. */
static void both(void *(*run)(void *one), char **arguments)
{
	pthread_barrier_t together;
	struct one ones[2];

	expect("barrier", pthread_barrier_init(&together, NULL, 2), 0);
	for (int i = 0; i < 2; i++) {
		ones[i] = (struct one) { .which = i, .arguments = arguments,
					 .together = &together };
		expect("thread", pthread_create(&ones[i].thread, NULL, run,
						&ones[i]), 0);
	}
	for (int i = 0; i < 2; i++)
		expect("join", pthread_join(ones[i].thread, NULL), 0);
	pthread_barrier_destroy(&together);
}

/* Both put, and the second gets: it must always find a whole block. */
static void *put_or_get(void *arg)
{
	const struct one *one = arg;
	struct rude rude;

	begin(&rude, one->which ? SIZE : SIZE / 3);
	for (int i = atoi(one->arguments[0]); i > 0; i--) {
		expect("put", put_whole(&rude, "p", one->which ? 7 : i), 0);
		if (one->which)
			expect("get", get_whole(&rude, "p"), 0);
	}
	end(&rude);
	return NULL;
}

static void run_replace(char **arguments)
{
	struct rude rude;

	begin(&rude, SIZE);
	expect("put", put_whole(&rude, "p", 8), 0);
	both(put_or_get, arguments);
	expect("get", get_whole(&rude, "p"), 0);
	end(&rude);
}

/* The target has zeroed the block, so there is nothing to write. */
static void *put_same(void *arg)
{
	const struct one *one = arg;
	struct message commit, answer;
	struct rude rude;

	begin(&rude, strtoull(one->arguments[1], NULL, 10));
	commit = commit_of(&rude);
	expect("put", put(&rude, "s"), 0);
	pthread_barrier_wait(one->together);
	expect("commit", ask(&rude, &commit, &answer), 0);
	end(&rude);
	return NULL;
}

/* If both blocks remained, the pool would soon be full. */
static void run_same(char **arguments)
{
	struct rude rude;

	begin(&rude, SIZE);
	for (int i = atoi(arguments[0]); i > 0; i--) {
		both(put_same, arguments);
		expect("retire", ask_simply(&rude, MESSAGE_RETIRE, "s"), 0);
	}
	end(&rude);
}

/* If the extents remained, the pool would soon be full. */
static void run_abandon(char **arguments)
{
	struct rude rude;

	for (int i = atoi(arguments[0]); i > 0; i--) {
		begin(&rude, strtoull(arguments[1], NULL, 10));
		/* The session of the client before may not have ended yet. */
		while (put(&rude, "a") == -ENOSPC)
			usleep(100000);
		end(&rude);
	}
}

/* --------------------------------------------------------- time and number */

static void run_keep(char **arguments)
{
	unsigned int writes = 0;
	struct rude rude;
	int err;

	begin(&rude, strtoull(arguments[0], NULL, 10));
	expect("put", put(&rude, "k"), 0);
	do
		err = transfer(&rude, IBV_WR_RDMA_WRITE, 0, rude.size);
	while (!err && ++writes);
	/* The target also ends the session, which the client may notice first. */
	expect("the last write", err == -EACCES || err == -ECONNRESET ||
	       err == -ETIMEDOUT, 1);
	printf("%u writes, then %s\n", writes, strerror(-err));
	end(&rude);
}

static void run_nag(char **arguments)
{
	unsigned int requests = 0;
	struct rude rude;
	int err;

	(void)arguments;
	begin(&rude, SIZE);
	expect("put", put(&rude, "n"), 0);
	do {
		usleep(100000);
		err = ask_simply(&rude, MESSAGE_GET, "n");
	} while (err == -EBUSY && ++requests);
	expect("requests", requests > 0, 1);
	printf("disconnected after %u requests: %s\n", requests, strerror(-err));
	end(&rude);
}

static void run_silent(char **arguments)
{
	struct message answer;
	struct rude rude;

	begin(&rude, arguments[0] ? strtoull(arguments[0], NULL, 10) : SIZE);
	if (arguments[0])
		expect("put", put(&rude, "q"), 0);
	puts("ready");
	fflush(stdout);
	expect("a message", conn_receive(&rude.conn, ANSWER_MS, &answer),
	       -ECONNRESET);
	end(&rude);
}

/* Publishes an extent under the name, with this at its begin. */
static void make_root(struct daxpin_pool *pool, const char *name, const void *begin,
		      size_t size)
{
	struct daxpin_op ops[2] = {
		{ .type = DAXPIN_OP_KEEP },
		{ .type = DAXPIN_OP_ROOT, .name = name },
	};

	expect("reserve", daxpin_reserve(pool, 1, DAXPIN_RESERVE_ZERO,
					 &ops[0].extent), 0);
	ops[1].extent = ops[0].extent;
	memcpy(daxpin_ptr(pool, ops[0].extent, 0), begin, size);
	expect("publish", daxpin_publish(pool, ops, 2, NULL, NULL), 0);
}

static void run_make_foreign(char **arguments)
{
	/* A header with a size that is larger by one byte than the extent allows. */
	const struct {
		char magic[8];
		uint64_t size;
	} header = { "dxstore", htole64(DAXPIN_BLOCK_SIZE - 64 + 1) };
	struct daxpin_pool_options options = {
		.size = sizeof(options), .pool_size = 64 << 20,
		.segment_size = DAXPIN_SEGMENT_MIN,
	};
	struct daxpin_pool *pool;

	expect("create", daxpin_pool_create(arguments[0], &options, &pool), 0);
	make_root(pool, "zeroes", "", 1);
	make_root(pool, "large", &header, sizeof(header));
	expect("close", daxpin_pool_close(pool), 0);
}

static void run_foreign(char **arguments)
{
	struct rude rude;

	(void)arguments;
	begin(&rude, SIZE);
	expect("zeroes", ask_simply(&rude, MESSAGE_GET, "zeroes"), -EUCLEAN);
	expect("large", ask_simply(&rude, MESSAGE_GET, "large"), -EUCLEAN);
	for (int i = 0; i < 2; i++) {
		const char *name = i ? "large" : "zeroes";

		expect("put", put(&rude, name), -EUCLEAN);
		expect("retire", ask_simply(&rude, MESSAGE_RETIRE, name), -EUCLEAN);
		/* It is still there. */
		expect("get", ask_simply(&rude, MESSAGE_GET, name), -EUCLEAN);
	}
	expect("put", put_whole(&rude, "own", 1), 0);
	expect("get", get_whole(&rude, "own"), 0);
	expect("retire", ask_simply(&rude, MESSAGE_RETIRE, "own"), 0);
	end(&rude);
}

static void run_names(char **arguments)
{
	struct rude rude;
	char name[16];
	int count = 0, err;

	(void)arguments;
	begin(&rude, 1);
	do {
		snprintf(name, sizeof(name), "name%d", count);
		err = put_whole(&rude, name, 9);
	} while (!err && ++count);
	expect("the last put", err, -ENOSPC);
	printf("%d names\n", count);
	while (count--) {
		snprintf(name, sizeof(name), "name%d", count);
		expect("retire", ask_simply(&rude, MESSAGE_RETIRE, name), 0);
	}
	expect("put", put_whole(&rude, "name", 9), 0);
	expect("retire", ask_simply(&rude, MESSAGE_RETIRE, "name"), 0);
	end(&rude);
}

static const struct {
	const char *name;
	int least, most;		/* arguments */
	void (*run)(char **arguments);
} cases[] = {
	{ "messages", 0, 0, run_messages },
	{ "edges", 0, 0, run_edges },
	{ "late", 1, 1, run_late },
	{ "replace", 1, 1, run_replace },
	{ "same", 2, 2, run_same },
	{ "abandon", 2, 2, run_abandon },
	{ "keep", 1, 1, run_keep },
	{ "nag", 0, 0, run_nag },
	{ "silent", 0, 1, run_silent },
	{ "foreign", 0, 0, run_foreign },
	{ "names", 0, 0, run_names },
};

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "make-foreign")) {
		run_make_foreign(argv + 2);
		return 0;
	}
	for (size_t i = 0; argc > 2 && i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (strcmp(argv[2], cases[i].name) || argc - 3 < cases[i].least ||
		    argc - 3 > cases[i].most)
			continue;
		address = argv[1];
		cases[i].run(argv + 3);
		return 0;
	}
	fputs("usage: store_rude ADDRESS CASE [ARGUMENT...]\n", stderr);
	return 2;
}
