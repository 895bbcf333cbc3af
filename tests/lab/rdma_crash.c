/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rdma_crash [hang]: owners that die with verbs contexts on a pool. The kernel does not
 * promise in which order it closes the descriptors of the lock and of the verbs device,
 * so both orders of opening are tried. `hang` needs a boot of its own: a queue pair
 * under a bound memory window that was allocated before it keeps its dead process in
 * the kernel for 50 seconds (rdma.md R6), with a kernel warning.
 */
#include <daxpin-status.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/file.h>
#include "child.h"
#include "kernel_stack.h"
#include "rdma_fixture.h"
#include "rdma_peer.h"

#define REGIONS		128		/* makes the teardown slow */
#define ROUNDS		3
#define GRANTS		2000
#define GRANT_BYTES	UINT64_C(4096)
#define HANG_MS		600000		/* limit of a wait that must end */

static struct place place = { .name = "shmem" };
/* Of the tests with grants. The teardown ends them if such a test fails. */
static struct child owner, peer;
/* A pipe: a byte, or the end of the file, ends the process of keep_context(). */
static int release[2] = { -1, -1 };

enum order { LOCK_FIRST, VERBS_FIRST };

/* What an open waited for when it was stopped. */
struct waited {
	enum daxpin_owner owner;
	int pid;
};

/* Stops an open that waits for a dead owner. */
static int give_up_on_the_dead(const struct daxpin_wait *wait, void *arg)
{
	struct waited *waited = arg;

	*waited = (struct waited) { wait->owner, wait->pid };
	return wait->owner != DAXPIN_OWNER_ALIVE;
}

static int open_pool(struct fixture *f, uint64_t ms, struct waited *ret_waited)
{
	struct daxpin_pool_options options = {
		.size = sizeof(options),
		.deadline_ns = daxpin_deadline_ms(ms),
		.progress = ret_waited ? give_up_on_the_dead : NULL,
		.progress_arg = ret_waited,
		.errmsg = f->errmsg,
		.errmsg_size = sizeof(f->errmsg),
	};

	f->errmsg[0] = '\0';
	return daxpin_pool_open(f->path, &options, &f->pool);
}

/* ---------------------------------------------------------------- the owner */

static int pin_pool(struct fixture *f, struct ibv_mr **ret_mr)
{
	const int access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_MW_BIND | WRITE;
	struct daxpin_segment segment;

	if (daxpin_segment(f->pool, 0, &segment))
		return -1;
	for (int i = 0; i < REGIONS; i++) {
		*ret_mr = ibv_reg_mr(f->nic.pd, segment.base, 1 << 20, access);
		if (!*ret_mr)
			return -1;
	}
	return 0;
}

/* A window that was allocated before its queue pair or after it, and is bound to it. */
static int bind_window(struct fixture *f, struct ibv_mr *mr, bool before)
{
	struct ibv_mw *mw = before ? ibv_alloc_mw(f->nic.pd, IBV_MW_TYPE_2) : NULL;
	struct ibv_send_wr *bad, bind = { .opcode = IBV_WR_BIND_MW };
	struct wire_address address;
	struct ibv_wc wc;
	int n;

	if (wire_open(&f->wire, &f->nic))
		return -1;
	if (!before)
		mw = ibv_alloc_mw(f->nic.pd, IBV_MW_TYPE_2);
	address = wire_address(&f->wire);
	if (!mw || wire_connect(&f->wire, &address))
		return -1;
	bind.send_flags = IBV_SEND_SIGNALED;
	bind.bind_mw.mw = mw;
	bind.bind_mw.rkey = ibv_inc_rkey(mw->rkey);
	bind.bind_mw.bind_info = (struct ibv_mw_bind_info) {
		.mr = mr, .addr = (uintptr_t)mr->addr, .length = 4096,
		.mw_access_flags = WRITE,
	};
	if (ibv_post_send(f->wire.qp, &bind, &bad))
		return -1;
	while (!(n = ibv_poll_cq(f->wire.cq, 1, &wc)))
		;
	return n == 1 && wc.status == IBV_WC_SUCCESS ? 0 : -1;
}

struct owner {
	struct fixture *f;
	enum order order;
	bool hang;
};

static int own(void *arg, int fd)
{
	const struct owner *about = arg;
	enum order order = about->order;
	struct fixture *f = about->f;
	struct ibv_mr *mr;
	char error = 0;

	if (order == VERBS_FIRST && nic_open(&f->nic, rdma_device))
		error = 1;
	if (open_pool(f, HANG_MS, NULL))
		error = 2;
	if (order == LOCK_FIRST && nic_open(&f->nic, rdma_device))
		error = 3;
	if (!error && attach(f))
		error = 4;
	if (!error && pin_pool(f, &mr))
		error = 5;
	if (!error && about->hang && bind_window(f, mr, true))
		error = 6;
	if (!send_message(fd, &error, 1) || error)
		return 1;
	for (;;)
		pause();
}

/* Kills without reaping: waitpid() would block until the process has ended. */
static struct child kill_an_owner(struct fixture *f, enum order order,
				  bool hang)
{
	struct owner about = { f, order, hang };
	struct child child = fork_child(own, &about);
	char error = -1;

	assert_true(receive_message(child.fd, &error, 1));
	assert_int_equal(error, 0);
	assert_true(pinned_pages() > 0);
	assert_int_equal(kill(child.pid, SIGKILL), 0);
	return child;
}

static int pool_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	if (!f || make_pool(&place, f->path, &f->pool) ||
	    daxpin_pool_close(f->pool))
		return -1;
	f->pool = NULL;
	return 0;
}

static void stop(struct child *child)
{
	if (child->pid > 0)
		stop_child(child);
	child->pid = 0;
}

static int pool_teardown(void **state)
{
	struct fixture *f = *state;
	int ret = daxpin_pool_close(f->pool);

	stop(&owner);
	stop(&peer);
	close(release[0]);
	close(release[1]);
	release[0] = release[1] = -1;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	if (!place.device)
		remove_tree(f->path);
	free(f);
	return ret;
}

/* -------------------------------------------------------------------- tests */

static void nothing_is_pinned_after(struct fixture *f, enum order order)
{
	const long long before = pinned_pages();
	struct child child;

	for (int i = 0; i < ROUNDS; i++) {
		child = kill_an_owner(f, order, false);
		if (open_pool(f, HANG_MS, NULL))
			fail_msg("%s", f->errmsg);
		/*
		 * Without a delay, since a process that has opened the pool may write.
		 */
		assert_int_equal(pinned_pages(), before);
		assert_int_equal(daxpin_pool_close(f->pool), 0);
		f->pool = NULL;
		assert_int_equal(end_child(&child), -SIGKILL);
	}
}

static void an_owner_that_opened_the_pool_first_is_waited_for(void **state)
{
	nothing_is_pinned_after(*state, LOCK_FIRST);
}

static void an_owner_that_opened_its_verbs_first_is_waited_for(void **state)
{
	nothing_is_pinned_after(*state, VERBS_FIRST);
}

/* -------------------------------------------------------- owners with grants */

/* What an owner reports before each connection of its peer. */
struct granted {
	struct wire_address address;
	uint64_t addr;			/* pool address of the first grant's extent */
	uint64_t wrong;			/* how many of its bytes the peer has written */
	unsigned char grant[DAXPIN_GRANT_DESCRIPTOR_SIZE];
};

struct granting {
	struct fixture *f;
	unsigned int grants;
	bool await_write;		/* after each connection */
};

/* Reserves an extent and grants it. For the first one, returns what its peer needs. */
static int grant_one(struct fixture *f, bool first, struct granted *ret_granted,
		     unsigned char **ret_bytes)
{
	const struct daxpin_grant_options options = {
		.size = sizeof(options), .access = WRITE, .label = "test peer",
	};
	struct daxpin_extent extent;
	struct daxpin_grant *grant;

	if (daxpin_reserve(f->pool, GRANT_BYTES, 0, &extent) ||
	    daxpin_rdma_grant(f->rdma, extent, &options, &grant))
		return -1;
	if (!first)
		return 0;
	ret_granted->addr = extent.addr;
	*ret_bytes = daxpin_ptr(f->pool, extent, 0);
	return daxpin_grant_export(grant, ret_granted->grant,
				   sizeof(ret_granted->grant)) < 0;
}

/*
 * Forks a process that has the verbs context open, but not the pool's lock, until the
 * test writes to the pipe. So the context outlives the owner and its lock.
 */
static bool keep_context(struct fixture *f)
{
	pid_t pid = fork();
	char byte;

	if (pid)
		return pid > 0;
	close(release[1]);
	_exit(daxpin_pool_close(f->pool) || read(release[0], &byte, 1) != 1);
}

/* Makes the grants, and then connects to a peer whenever the test sends an address. */
static int own_grants(void *arg, int fd)
{
	const struct granting *granting = arg;
	struct fixture *f = granting->f;
	struct granted granted = { .wrong = 0 };
	struct wire_address theirs;
	unsigned char *bytes = NULL;

	if (open_pool(f, HANG_MS, NULL) || nic_open(&f->nic, rdma_device) ||
	    wire_open(&f->wire, &f->nic) || attach(f))
		return 1;
	for (unsigned int i = 0; i < granting->grants; i++)
		if (grant_one(f, !i, &granted, &bytes))
			return 2;
	if (granting->grants > 1 && !keep_context(f))
		return 5;
	pattern_fill(bytes, GRANT_BYTES, OLD_PATTERN);
	for (;;) {
		granted.wrong = pattern_wrong(bytes, GRANT_BYTES, OLD_PATTERN);
		granted.address = wire_address(&f->wire);
		if (!send_message(fd, &granted, sizeof(granted)) ||
		    !receive_message(fd, &theirs, sizeof(theirs)) ||
		    wire_connect(&f->wire, &theirs) || !send_step(fd))
			return 3;
		while (granting->await_write &&
		       !pattern_wrong(bytes, GRANT_BYTES, OLD_PATTERN))
			sched_yield();
		if ((granting->await_write && !send_step(fd)) || !await_step(fd))
			return 4;
	}
}

static struct granted begin_owner(struct fixture *f, unsigned int grants)
{
	struct granting granting = { f, grants, grants > 1 };
	struct granted granted;

	owner = fork_child(own_grants, &granting);
	assert_true(receive_message(owner.fd, &granted, sizeof(granted)));
	assert_int_equal(granted.wrong, 0);
	return granted;
}

/* Connects owner and peer, and makes the peer write with that grant. */
static void go(const struct granted *to, const unsigned char *grant, uint32_t writes)
{
	const struct wire_address theirs = peer_prepare(&peer, &to->address, grant,
							writes);

	assert_true(send_message(owner.fd, &theirs, sizeof(theirs)));
	assert_true(await_step(owner.fd));
	assert_true(send_step(peer.fd));
}

/* Makes the owner check its extent and prepare for the next connection. */
static struct granted look(void)
{
	struct granted granted;

	assert_true(send_step(owner.fd));
	assert_true(receive_message(owner.fd, &granted, sizeof(granted)));
	return granted;
}

/*
 * The target is killed, starts again and grants the same blocks. A peer from before the
 * restart connects again, and writes with its old key.
 */
static void a_key_from_before_a_restart_gives_no_access(void **state)
{
	struct fixture *f = *state;
	struct granted before, now;

	peer = peer_begin();
	before = begin_owner(f, 1);
	go(&before, before.grant, 1);
	assert_int_equal(peer_result(&peer).status, 0);
	assert_int_equal(look().wrong, GRANT_BYTES);
	stop(&owner);
	now = begin_owner(f, 1);
	assert_int_equal(now.addr, before.addr);
	go(&now, before.grant, 1);
	assert_int_equal(peer_result(&peer).status, IBV_WC_REM_ACCESS_ERR);
	now = look();
	assert_int_equal(now.wrong, 0);
	/* The key from after the restart gives access. */
	go(&now, now.grant, 1);
	assert_int_equal(peer_result(&peer).status, 0);
	assert_int_equal(look().wrong, GRANT_BYTES);
	stop(&owner);
	stop(&peer);
	assert_int_equal(open_pool(f, HANG_MS, NULL), 0);
}

static void note_context(const struct daxpin_leftover *leftover, void *arg)
{
	print_message("# %s\n", leftover->sentence);
	if (leftover->kind == DAXPIN_LEFTOVER_CONTEXT && leftover->certain &&
	    !strcmp(leftover->device, rdma_device))
		++*(int *)arg;
}

/* The dead owner's verbs context is listed, and nothing else. */
static void assert_context_is_left(struct fixture *f)
{
	uint32_t pid = 0;
	int contexts = 0;
	int ret = daxpin_leftovers(f->path, f->errmsg, sizeof(f->errmsg), note_context,
				   &contexts, &pid);

	if (ret < 0)
		fail_msg("%s", f->errmsg);
	assert_int_equal(contexts, 1);
	assert_int_equal(ret, 1);
	assert_int_equal(pid, owner.pid);
}

/*
 * A peer writes without a pause, even after the owner is dead and its lock is free,
 * until the last process with the owner's verbs context has ended.
 */
static void an_owner_with_thousands_of_grants_is_waited_for(void **state)
{
	const long long before = pinned_pages();
	struct fixture *f = *state;
	struct daxpin_segment segment;
	struct waited waited = { .pid = 0 };
	struct granted granted;
	unsigned char *bytes;

	assert_int_equal(pipe(release), 0);
	granted = begin_owner(f, GRANTS);
	peer = peer_begin();
	go(&granted, granted.grant, 0);
	assert_true(await_step(owner.fd));	/* until bytes have arrived */
	kill_child_unreaped(&owner);
	assert_int_equal(open_pool(f, HANG_MS, &waited), -ECANCELED);
	assert_int_equal(waited.owner, DAXPIN_OWNER_RDMA);
	assert_int_equal(waited.pid, owner.pid);
	assert_context_is_left(f);
	assert_int_equal(write(release[1], "", 1), 1);
	if (open_pool(f, HANG_MS, NULL))
		fail_msg("%s", f->errmsg);
	/* Only the peer's own memory is pinned. */
	assert_int_equal(pinned_pages() - before, EXTENT_BYTES / 4096);
	assert_int_equal(daxpin_segment(f->pool, 0, &segment), 0);
	bytes = (unsigned char *)segment.base + granted.addr;
	pattern_fill(bytes, GRANT_BYTES, OLD_PATTERN);
	assert_int_not_equal(peer_result(&peer).status, 0);
	assert_int_equal(pattern_wrong(bytes, GRANT_BYTES, OLD_PATTERN), 0);
	stop(&peer);
	stop(&owner);
	assert_int_equal(pinned_pages(), before);
}

/* In a child: uses a context of its living parent, beside one of its own. */
static int attach_inherited(void *arg)
{
	struct fixture *f = arg;
	struct nic own;

	if (open_pool(f, HANG_MS, NULL) || nic_open(&own, rdma_device))
		return 1;
	if (attach(f) != -EINVAL)
		return 2;
	return strstr(f->errmsg, rdma_device) ? 0 : 3;
}

static void an_inherited_context_is_refused(void **state)
{
	struct fixture *f = *state;
	int status;

	assert_int_equal(nic_open(&f->nic, rdma_device), 0);
	status = run_child(attach_inherited, f);
	assert_int_equal(nic_close(&f->nic), 0);
	assert_int_equal(status, 0);
}

/*
 * Opens while the kernel frees the child's verbs context. The open first waits for the
 * child's locks and then for its RDMA. Returns false if the second wait was not seen,
 * because the context was freed before it.
 */
static bool open_meets_the_hang(struct fixture *f, const struct child *child,
				long long before)
{
	struct waited waited = { .pid = 0 };
	long long pinned;
	int ret;

	ret = open_pool(f, HANG_MS, &waited);
	if (!ret)
		return false;
	assert_int_equal(ret, -ECANCELED);
	print_message("# an open waited for %d, process %d\n", waited.owner,
		      waited.pid);
	if (waited.owner == DAXPIN_OWNER_RDMA)
		assert_int_equal(waited.pid, child->pid);
	pinned = pinned_pages();
	ret = open_pool(f, 0, NULL);
	if (!ret)
		return false;
	print_message("# %s\n", f->errmsg);
	assert_int_equal(ret, -EBUSY);
	return pinned > before;
}

/*
 * R6, K29 with plain verbs: a process locks one file before it opens its verbs context,
 * and another one after that. So the descriptor of the context has a number between
 * those of the locks. A window is bound to its queue pair.
 */
struct bound {
	char path[2][64];
	bool window_first;
	bool destroy;			/* the queue pair; otherwise await a kill */
	struct child child;
	uint64_t begun_ns;
};

#define TEARDOWN	"rxe_cleanup"	/* where the kernel waits 50 seconds */
#define TEARDOWN_S	50

static int make_file(char path[64])
{
	int fd;

	strcpy(path, "/dev/shm/daxpin-bound-XXXXXX");
	fd = mkstemp(path);
	return fd < 0 ? -1 : close(fd);
}

static bool locked_file(const char *path, int flags, int *ret_fd)
{
	*ret_fd = open(path, O_RDWR | O_CLOEXEC);
	return *ret_fd >= 0 && !flock(*ret_fd, LOCK_EX | flags);
}

static int bind_and_wait(void *arg, int fd)
{
	const int access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_MW_BIND | WRITE;
	void *memory = aligned_alloc(4096, 4096);
	const struct bound *bound = arg;
	struct fixture f = { 0 };
	struct ibv_mr *mr;
	int lock[2];

	if (!memory || !locked_file(bound->path[0], LOCK_NB, &lock[0]) ||
	    nic_open(&f.nic, rdma_device) ||
	    !locked_file(bound->path[1], LOCK_NB, &lock[1]))
		return 1;
	mr = ibv_reg_mr(f.nic.pd, memory, 4096, access);
	if (!mr || bind_window(&f, mr, bound->window_first) || !send_step(fd))
		return 2;
	if (bound->destroy)
		return ibv_destroy_qp(f.wire.qp) ? 3 : 0;
	for (;;)
		pause();
}

static void start_bound(struct bound *bound, bool window_first, bool destroy)
{
	memset(bound, 0, sizeof(*bound));
	bound->window_first = window_first;
	bound->destroy = destroy;
	assert_int_equal(make_file(bound->path[0]), 0);
	assert_int_equal(make_file(bound->path[1]), 0);
	bound->child = fork_child(bind_and_wait, bound);
	assert_true(await_step(bound->child.fd));
	bound->begun_ns = daxpin_deadline_ms(0);
	if (!destroy)
		assert_int_equal(kill(bound->child.pid, SIGKILL), 0);
}

/* Returns how many seconds the teardown took. */
static uint64_t end_bound(struct bound *bound)
{
	uint64_t seconds;
	int status = end_child(&bound->child);

	seconds = (daxpin_deadline_ms(0) - bound->begun_ns) / 1000000000;
	print_message("# window %s the queue pair, %s: %d after %llu s\n",
		      bound->window_first ? "before" : "after",
		      bound->destroy ? "destroyed" : "killed", status,
		      (unsigned long long)seconds);
	if (!bound->destroy)
		assert_int_equal(status, -SIGKILL);
	unlink(bound->path[0]);
	unlink(bound->path[1]);
	return seconds;
}

/* The lock with the higher descriptor is free, the one with the lower is not. */
static void locks_end_in_descending_order(const struct bound *bound)
{
	int fd[2];

	assert_true(kernel_stack_wait(bound->child.pid, TEARDOWN));
	assert_true(locked_file(bound->path[1], 0, &fd[1]));
	assert_false(locked_file(bound->path[0], LOCK_NB, &fd[0]));
	assert_true(kernel_stack_has(bound->child.pid, TEARDOWN));
	close(fd[0]);
	close(fd[1]);
}

static void a_teardown_that_hangs_is_awaited(void **state)
{
	struct fixture *f = *state;
	const long long before = pinned_pages();
	struct bound destroyed, killed, quick;
	struct child child;
	bool seen = false, ended = false;

	start_bound(&destroyed, true, true);
	start_bound(&killed, true, false);
	locks_end_in_descending_order(&killed);
	/* This one begins last and ends first. */
	start_bound(&quick, false, false);
	end_bound(&quick);
	assert_true(kernel_stack_has(killed.child.pid, TEARDOWN));
	while (!seen) {
		child = kill_an_owner(f, VERBS_FIRST, true);
		seen = open_meets_the_hang(f, &child, before);
		if (!f->pool && open_pool(f, HANG_MS, NULL))
			fail_msg("%s", f->errmsg);
		if (!ended) {
			assert_true(end_bound(&destroyed) >= TEARDOWN_S);
			assert_true(end_bound(&killed) >= TEARDOWN_S);
			ended = true;
		}
		assert_int_equal(pinned_pages(), before);
		assert_int_equal(daxpin_pool_close(f->pool), 0);
		f->pool = NULL;
		assert_int_equal(end_child(&child), -SIGKILL);
	}
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, pool_setup, \
						   pool_teardown)
	const struct CMUnitTest tests[] = {
		TEST(an_owner_that_opened_the_pool_first_is_waited_for),
		TEST(an_owner_that_opened_its_verbs_first_is_waited_for),
		TEST(an_inherited_context_is_refused),
		TEST(a_key_from_before_a_restart_gives_no_access),
		TEST(an_owner_with_thousands_of_grants_is_waited_for),
	};
	const struct CMUnitTest hang[] = {
		TEST(a_teardown_that_hangs_is_awaited),
	};

	if (!rdma_find_device())
		return 77;
	place.device = getenv("DAXPIN_TEST_DAX");
	if (argc > 1 && !strcmp(argv[1], "hang"))
		return cmocka_run_group_tests(hang, NULL, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
