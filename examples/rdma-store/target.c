/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rdma-target: a remote block store in a pool. Clients write and read blocks by RDMA,
 * without this machine's CPU. This program decides which blocks they may access, and
 * until when.
 *
 * Each client has a thread, a queue pair and a protection domain, so no client can use
 * another's key, and none can delay another: the handshake is made in the client's
 * thread, and each wait for the client has a limit. A session ends when its client
 * disconnects, is silent for too long, keeps a grant for too long, or sends a message
 * of another length; when the RDMA device is removed; and when the target ends. Its
 * grant is then revoked, and all that it had of the device and the pool is given back.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "block.h"
#include "conn.h"

#define CLIENTS		64
/*
 * An open waits this long for a dead owner's I/O, and a create on a device that may be
 * blank reads up to 1 GiB of it in this time.
 */
#define WAIT_MS		600000
#define SILENT_MS	1000	/* silence before a client makes room */
#define FULL_MS		100

struct session {
	pthread_t thread;
	bool there;			/* its thread must be joined */
	atomic_bool over;
	struct target *target;
	struct ibv_pd *pd;
	struct conn conn;
	struct access access;
	uint64_t grant_end_ms;		/* when the grant must be given back */
	char peer[64];
};

struct target {
	const char *path, *address, *port;
	uint64_t pool_size;		/* of a new pool; 0: all free space, which tmpfs
					   refuses; UINT64_MAX: make none */
	bool overwrite;
	int handshake_ms, grace_ms, idle_ms;
	struct store store;
	struct rdma_cm_id *listen;
	int stop_fd;
	atomic_bool full;		/* a silent client must make room */
	struct session session[CLIENTS];
};

static const char usage[] =
"usage: rdma-target --pool PATH --listen ADDRESS [OPTION...]\n"
"\n"
"Stores blocks of rdma-client in a pool. ADDRESS belongs to an RDMA device of\n"
"this machine. SIGINT or SIGTERM ends the program, and so does the removal of\n"
"that device.\n"
"\n"
"  --port N	listen on this port (default " STORE_PORT ")\n"
"  --create BYTES	create a pool in the directory PATH if there is none\n"
"		(0: on the whole device)\n"
"  --overwrite	with --create: overwrite whatever is there\n"
"  --handshake MS	how long a client may take to connect (default 10000);\n"
"		see --idle\n"
"  --grace MS	how long a client may keep a grant (default 10000)\n"
"  --idle MS	how long a client without a grant may be silent (default\n"
"		300000). If all 64 places are in use and another client\n"
"		waits, one second is the limit of this and of --handshake\n"
"A client that exceeds one of these limits is disconnected.\n";

static int fail(const char *what, const char *errmsg, int err)
{
	fprintf(stderr, "rdma-target: %s: %s\n", what,
		errmsg && errmsg[0] ? errmsg : strerror(-err));
	return err;
}

/* ---------------------------------------------------------------- sessions */

static int answer_to(struct session *session, const struct message *request,
		     struct message *answer)
{
	struct store *store = &session->target->store;
	struct access *access = &session->access;
	int err = message_check_request(request);

	if (err)
		return err;
	switch (request->type) {
	case MESSAGE_PUT:
		return block_put(store, access, session->peer, request,
				 answer);
	case MESSAGE_COMMIT:
		return block_commit(store, access, request);
	case MESSAGE_GET:
		return block_get(store, access, session->peer, request,
				 answer);
	case MESSAGE_DONE:
		return access->grant ? block_take_back(store, access) : -EINVAL;
	default:
		return block_retire(store, request->name);
	}
}

static void say(const struct session *session, const char *what, int err)
{
	printf("%s: %s%s%s\n", session->peer, what, err ? ": " : "",
	       err ? strerror(-err) : "");
	fflush(stdout);
}

static const char *name_of(uint32_t type)
{
	static const char *const names[] = {
		[MESSAGE_PUT] = "put", [MESSAGE_COMMIT] = "commit",
		[MESSAGE_GET] = "get", [MESSAGE_DONE] = "done",
		[MESSAGE_RETIRE] = "retire",
	};

	return type && type <= MESSAGE_RETIRE ? names[type] : "?";
}

/*
 * Waits for the next request, or with ret_request NULL for the end of the handshake. A
 * client without a grant is disconnected when it is silent and another needs its place.
 */
static int wait_for_client(struct session *session, uint64_t end_ms,
			   struct message *ret_request)
{
	bool granted = session->access.grant != NULL;
	int err, left_ms, ms;

	do {
		uint64_t now_ms = conn_now_ms();

		left_ms = now_ms < end_ms ? (int)(end_ms - now_ms) : 0;
		ms = left_ms < SILENT_MS ? left_ms : SILENT_MS;
		err = ret_request ? conn_receive(&session->conn, ms, ret_request) :
				    conn_wait_established(&session->conn, ms);
	} while (err == -ETIMEDOUT && left_ms > SILENT_MS &&
		 (granted || !atomic_exchange(&session->target->full, false)));
	return err;
}

/* The limit of a grant does not depend on what the client sends. */
static int receive(struct session *session, struct message *ret_request)
{
	uint64_t end_ms = session->access.grant ? session->grant_end_ms :
			  conn_now_ms() + (uint64_t)session->target->idle_ms;

	return wait_for_client(session, end_ms, ret_request);
}

/* Handles one request. After an error the session must end. */
static int serve_one(struct session *session)
{
	struct message request, answer = { .size = 0 };
	bool granted = session->access.grant != NULL;
	int err = receive(session, &request), status;

	if (err)
		return err;
	status = answer_to(session, &request, &answer);
	if (status)
		memset(&answer, 0, sizeof(answer));
	answer.version = STORE_VERSION;
	answer.type = request.type;
	answer.status = status;
	if (!granted)
		session->grant_end_ms = conn_now_ms() +
					(uint64_t)session->target->grace_ms;
	say(session, name_of(request.type), status);
	err = conn_expect(&session->conn);
	return err ? err : conn_send(&session->conn, &answer);
}

/* Makes a protection domain for this peer, in which only its own keys are valid. */
static int open_domain(struct session *session)
{
	char errmsg[256] = "";
	struct daxpin_rdma_options options = {
		.size = sizeof(options), .label = session->peer,
		.flags = DAXPIN_RDMA_NO_REGIONS,
		.errmsg = errmsg, .errmsg_size = sizeof(errmsg),
	};
	int ret;

	session->pd = ibv_alloc_pd(session->conn.id->verbs);
	if (!session->pd)
		return -errno;
	ret = daxpin_rdma_attach(session->target->store.pool, session->pd,
				 &options, &session->access.rdma);
	if (ret && errmsg[0])
		say(session, errmsg, 0);
	return ret;
}

/*
 * The queue pair is gone already. If the device did not end a grant, the detach fails
 * and the protection domain stays allocated.
 */
static void close_domain(struct session *session)
{
	int err = daxpin_rdma_detach(session->access.rdma);

	if (!err && session->pd)
		err = -ibv_dealloc_pd(session->pd);
	if (err)
		say(session, "its protection domain stays allocated", err);
}

static int begin_session(struct session *session)
{
	int err = open_domain(session);

	if (!err)
		err = conn_accept(&session->conn, session->pd);
	if (!err)
		err = wait_for_client(session, conn_now_ms() +
				      (uint64_t)session->target->handshake_ms, NULL);
	if (!err)
		say(session, "is here", 0);
	return err;
}

/* The grant is revoked before the client can notice that its session ends. */
static void end_session(struct session *session)
{
	int err = block_take_back(&session->target->store, &session->access);

	if (err)
		say(session, "the memory of its grant stays out of use", err);
	conn_close(&session->conn);
	close_domain(session);
}

static void *serve(void *arg)
{
	struct session *session = arg;
	int begun = begin_session(session), err = begun;

	while (!err)
		err = serve_one(session);
	end_session(session);
	say(session, begun ? "could not be connected" : "is gone",
	    err == -ECONNRESET ? 0 : err);
	atomic_store(&session->over, true);
	return NULL;
}

static struct session *free_session(struct target *target)
{
	for (int i = 0; i < CLIENTS; i++) {
		struct session *session = &target->session[i];

		if (session->there && !atomic_load(&session->over))
			continue;
		if (session->there)
			pthread_join(session->thread, NULL);
		memset(session, 0, sizeof(*session));
		return session;
	}
	return NULL;
}

/*
 * Begins a session with the next client that requests a connection.
 *
 * -EAGAIN	there is no request
 * -ENODEV	the RDMA device is being removed
 * -EUSERS	all places are in use, so requests must wait
 */
static int welcome(struct target *target)
{
	struct session *session = free_session(target);
	int err;

	if (!session)
		return -EUSERS;
	session->target = target;
	session->conn.stop_fd = target->stop_fd;
	err = conn_get_request(&session->conn, target->listen);
	if (err)
		return err;
	conn_peer(&session->conn, session->peer, sizeof(session->peer));
	err = -pthread_create(&session->thread, NULL, serve, session);
	session->there = !err;
	if (err) {
		say(session, "could not be connected", err);
		conn_close(&session->conn);
	}
	return 0;
}

static void end_sessions(struct target *target)
{
	if (eventfd_write(target->stop_fd, 1))
		perror("rdma-target");
	for (int i = 0; i < CLIENTS; i++)
		if (target->session[i].there)
			pthread_join(target->session[i].thread, NULL);
}

/* Returns 0 after a signal, or -ENODEV when the device is removed. */
static int serve_until_signal(struct target *target, int signal_fd)
{
	struct pollfd fds[] = {
		{ .fd = signal_fd, .events = POLLIN },
		{ .fd = target->listen->channel->fd, .events = POLLIN },
	};
	bool full = false, was;
	int err = 0;

	while (poll(fds, full ? 1 : 2, full ? FULL_MS : -1) < 0 || !fds[0].revents) {
		if (!full && !fds[1].revents)
			continue;
		was = full;
		err = welcome(target);
		if (err == -ENODEV)
			break;
		if (err && err != -EAGAIN && err != -EUSERS)
			fail("a client could not be connected", NULL, err);
		full = err == -EUSERS;
		/* For each waiting client one silent client is disconnected. */
		if (full != was)
			atomic_store(&target->full, full);
	}
	end_sessions(target);
	return err == -ENODEV ? err : 0;
}

/* -------------------------------------------------------- begin and end */

static int open_pool(struct target *target)
{
	char errmsg[256] = "";
	struct daxpin_pool_options options = {
		.size = sizeof(options),
		.deadline_ns = daxpin_deadline_ms(WAIT_MS),
		.errmsg = errmsg, .errmsg_size = sizeof(errmsg),
	};
	int ret;

	if (target->pool_size != UINT64_MAX) {
		options.flags = target->overwrite ? DAXPIN_POOL_OVERWRITE :
						    DAXPIN_POOL_CREATE;
		options.pool_size = target->pool_size;
		if (options.pool_size && options.pool_size <
		    2 * DAXPIN_SEGMENT_DEFAULT)
			options.segment_size = DAXPIN_SEGMENT_MIN;
	}
	if (target->overwrite)
		ret = daxpin_pool_create(target->path, &options,
					 &target->store.pool);
	else
		ret = daxpin_pool_open(target->path, &options,
				       &target->store.pool);
	return ret ? fail(target->path, errmsg, ret) : 0;
}

/*
 * Tries once what each client will need, to find out at the start if the pool or the
 * device cannot do it.
 */
static int try_domain(struct target *target)
{
	char errmsg[256] = "";
	struct daxpin_rdma_options options = {
		.size = sizeof(options), .flags = DAXPIN_RDMA_NO_REGIONS,
		.errmsg = errmsg, .errmsg_size = sizeof(errmsg),
	};
	struct ibv_pd *pd = ibv_alloc_pd(target->listen->verbs);
	struct daxpin_rdma *rdma;
	int ret;

	if (!pd)
		return fail("protection domain", NULL, -errno);
	ret = daxpin_rdma_attach(target->store.pool, pd, &options, &rdma);
	if (ret)
		fail(target->path, errmsg, ret);
	else
		ret = daxpin_rdma_detach(rdma);
	ibv_dealloc_pd(pd);
	return ret;
}

static int start_listening(struct target *target)
{
	int ret = conn_listen(target->address, target->port, &target->listen);

	if (ret)
		return fail(target->address, ret == -ENODEV ?
			    "no RDMA device has this address" : NULL, ret);
	return try_domain(target);
}

/*
 * The listening id is destroyed first: it uses the device, and clients could still
 * connect.
 */
static int end(struct target *target)
{
	int ret;

	if (target->listen)
		conn_listen_end(target->listen);
	ret = daxpin_pool_close(target->store.pool);
	return ret ? fail("close", NULL, ret) : 0;
}

/* Blocks the signals before any thread exists, so that only this one gets them. */
static int take_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

static uint64_t number(const char *text, uint64_t most)
{
	unsigned long long value;
	char *tail;

	errno = 0;
	value = strtoull(text, &tail, 10);
	if (errno || *tail || *text < '0' || *text > '9' || value > most) {
		fprintf(stderr, "rdma-target: %s: not a number up to %llu\n",
			text, (unsigned long long)most);
		exit(2);
	}
	return value;
}

static int milliseconds(const char *text)
{
	return (int)number(text, INT32_MAX);
}

static void parse(struct target *target, int argc, char **argv)
{
	static const struct option options[] = {
		{ "pool", required_argument, NULL, 'p' },
		{ "listen", required_argument, NULL, 'l' },
		{ "port", required_argument, NULL, 'n' },
		{ "create", required_argument, NULL, 'c' },
		{ "overwrite", no_argument, NULL, 'o' },
		{ "handshake", required_argument, NULL, 'h' },
		{ "grace", required_argument, NULL, 'g' },
		{ "idle", required_argument, NULL, 'i' },
		{ NULL, 0, NULL, 0 },
	};
	int code;

	while ((code = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (code) {
		case 'p': target->path = optarg; break;
		case 'l': target->address = optarg; break;
		case 'n': target->port = optarg; break;
		case 'c': target->pool_size = number(optarg, INT64_MAX); break;
		case 'o': target->overwrite = true; break;
		case 'h': target->handshake_ms = milliseconds(optarg); break;
		case 'g': target->grace_ms = milliseconds(optarg); break;
		case 'i': target->idle_ms = milliseconds(optarg); break;
		default:  target->path = NULL; optind = argc; break;
		}
	if (target->path && target->address && optind == argc &&
	    (!target->overwrite || target->pool_size != UINT64_MAX))
		return;
	fputs(usage, stderr);
	exit(2);
}

int main(int argc, char **argv)
{
	static struct target target = {
		.store.names = PTHREAD_MUTEX_INITIALIZER, .port = STORE_PORT,
		.pool_size = UINT64_MAX,
		.handshake_ms = 10000, .grace_ms = 10000, .idle_ms = 300000,
	};
	int signal_fd, ret;

	parse(&target, argc, argv);
	signal_fd = take_signals();
	target.stop_fd = eventfd(0, EFD_CLOEXEC);
	if (signal_fd < 0 || target.stop_fd < 0)
		return fail("start", NULL, -errno), 1;
	ret = open_pool(&target);
	if (ret)
		return 1;
	ret = start_listening(&target);
	if (!ret) {
		printf("rdma-target: %s at %s:%s\n", target.path,
		       target.address, target.port);
		fflush(stdout);
		ret = serve_until_signal(&target, signal_fd);
		if (ret)
			fail(target.address, "its RDMA device is removed", ret);
	}
	if (end(&target))
		ret = -1;
	return ret ? 1 : 0;
}
