/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * After the owner of a pool has died, a process or a ring may still keep the pool's
 * lock. These tests show which do, that the next open waits and reports which it is,
 * and that daxpin_leftovers() lists all of them.
 *
 * The main tests run on shmem. `owner_lock_holder crash` needs DAXPIN_TEST_DISK and
 * DAXPIN_TEST_FSDAX. It kills one owner for each row of kinds[], while a read of that
 * owner's ring is in flight. The disk delays all reads until every successor waits. On
 * fsdax the layout barrier would also make a successor wait, so the test requires
 * progress reports that name the lock.
 *
 * A fixed delay of the reads would not do. With one, some successors opened the pool
 * after the read had landed, when the lock was free, and reported pins: an open reports
 * pins whenever the layout barrier takes longer than its first poll, 10 ms. That
 * happened in 2 of 20 opens, although the kernel counted no pinned page.
 */
#include "media.h"
#include "needs.h"
#include <daxpin-status.h>
#include <daxpin-uring.h>
#include <pthread.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include "../support/held_disk.h"
#include "../support/kernel_stack.h"

#define LENGTH		65536u
#define OURS		0x3c
#define LONG_MS		600000
#define HANG_S		600		/* limit of a wait that must end */

static const char *directory;
static struct held_disk disk;		/* the disk that all owners read from */

/* ------------------------------- a dead owner, and the process that keeps its lock */

/* A bit for each kind of leftover. */
#define DESCRIPTOR	(1u << DAXPIN_LEFTOVER_DESCRIPTOR)
#define MAPPING		(1u << DAXPIN_LEFTOVER_MAPPING)
#define RING		(1u << DAXPIN_LEFTOVER_RING)
#define SOCKET		(1u << DAXPIN_LEFTOVER_SOCKET)
#define REQUESTS	(1u << DAXPIN_LEFTOVER_REQUESTS)

/* What daxpin_leftovers() listed. UNKNOWN is left out: it depends on the machine. */
struct left {
	int ret;
	uint32_t owner;
	uint32_t kinds;			/* of the holder, or of no process */
	uint32_t certain;		/* the same, without those that are uncertain */
	uint32_t others;		/* certain ones of other processes */
};

/*
 * The holder is another process, which inherited or received a descriptor or a mapping
 * from the owner, and outlives it.
 */
struct dead_owner {
	struct fixture *f;
	pid_t owner;
	pid_t holder;
	struct left left;		/* by look_for_leftovers() */
};

/* What the progress function of an open was called with. */
struct reports {
	enum daxpin_owner owner;	/* the last one reported */
	int pid;
	_Atomic uint32_t all;		/* a bit for each one reported */
	int answer;			/* the result of the progress function */
};

static int note_report(const struct daxpin_wait *wait, void *arg)
{
	struct reports *reports = arg;

	reports->owner = wait->owner;
	if (wait->pid)
		reports->pid = wait->pid;
	atomic_fetch_or(&reports->all, 1u << wait->owner);
	return reports->answer;
}

static void pause_forever(void)
{
	for (;;)
		pause();
}

static void send_value(int fd, int value)
{
	if (write(fd, &value, sizeof(value)) != sizeof(value))
		_exit(1);
}

static int receive_value(int fd)
{
	int value = -1;

	assert_int_equal(read(fd, &value, sizeof(value)), sizeof(value));
	return value;
}

/* Forks a child of the owner, and returns when the child is ready. */
static pid_t fork_holder(struct fixture *f, void (*keep)(struct fixture *f))
{
	int ends[2], ready;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC))
		_exit(1);
	pid = fork();
	if (pid < 0)
		_exit(1);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, 0);
		close(ends[0]);
		/*
		 * The parent waits until this descriptor is closed: here, after keep(),
		 * or by an exec in keep().
		 */
		if (fcntl(ends[1], F_DUPFD_CLOEXEC, 200) < 0)
			_exit(1);
		close(ends[1]);
		keep(f);
		close(200);
		pause_forever();
	}
	close(ends[1]);
	if (read(ends[0], &ready, 1))
		_exit(1);
	return pid;
}

/* An owner, and what its child does with the descriptors and mappings it inherits. */
struct owner {
	struct fixture *f;
	void (*keep)(struct fixture *f);
};

static int open_and_fork_holder(void *arg, int parent)
{
	const struct owner *owner = arg;
	struct fixture *f = owner->f;

	if (daxpin_pool_open(f->path, &f->options, &f->pool))
		return 1;
	send_value(parent, fork_holder(f, owner->keep));
	pause_forever();
	return 1;
}

/* Opens the pool in a child that forks a holder, kills and reaps the child. */
static struct dead_owner leave_holder_child(struct fixture *f,
					    void (*keep)(struct fixture *f))
{
	struct dead_owner dead = { .f = f };
	struct owner owner = { f, keep };
	struct child child;

	assert_int_equal(fixture_reopen(f), 0);
	close_pool(f);
	child = fork_child(open_and_fork_holder, &owner);
	dead.owner = child.pid;
	dead.holder = receive_value(child.fd);
	kill_child(&child);
	return dead;
}

static void end_holder(struct dead_owner *dead)
{
	kill(dead->holder, SIGKILL);
	assert_int_equal(waitpid(dead->holder, NULL, 0), dead->holder);
}

static int try_open(struct fixture *f, uint64_t ms, struct reports *reports)
{
	f->options.deadline_ns = daxpin_deadline_ms(ms);
	f->options.progress = reports ? note_report : NULL;
	f->options.progress_arg = reports;
	return daxpin_pool_open(f->path, &f->options, &f->pool);
}

/* ----------------------------------------------------------- daxpin_leftovers() */

static void note_leftover(const struct daxpin_leftover *leftover, void *arg)
{
	struct dead_owner *dead = arg;
	struct left *left = &dead->left;

	print_message("# kind %u, certain %d: %s\n", leftover->kind, leftover->certain,
		      leftover->sentence);
	if (leftover->kind == DAXPIN_LEFTOVER_UNKNOWN)
		return;
	if (leftover->pid && leftover->pid != dead->holder) {
		left->others += leftover->certain;
		return;
	}
	left->kinds |= 1u << leftover->kind;
	if (leftover->certain)
		left->certain |= 1u << leftover->kind;
}

/* Call it while the holder lives. */
static void look_for_leftovers(struct dead_owner *dead)
{
	struct fixture *f = dead->f;

	dead->left.ret = daxpin_leftovers(f->path, f->errmsg, sizeof(f->errmsg),
					  note_leftover, dead, &dead->left.owner);
	if (dead->left.ret < 0)
		print_message("# %s\n", f->errmsg);
}

/* Asserts that exactly these were listed, and the owner. */
static void assert_left(const struct dead_owner *dead, uint32_t kinds, uint32_t certain)
{
	assert_true(dead->left.ret >= 0);
	assert_int_equal(dead->left.kinds, kinds);
	assert_int_equal(dead->left.certain, certain);
	assert_int_equal(dead->left.others, 0);
	assert_int_equal(dead->left.owner, dead->owner);
}

static void assert_says_keeps(struct fixture *f, pid_t pid)
{
	char words[32];

	snprintf(words, sizeof(words), "process %d keeps", pid);
	assert_says(f, words);
}

/*
 * Asserts that an open fails until the holder ends, reports `owner`, and, if that is
 * DAXPIN_OWNER_KEPT, names the holder in its errmsg.
 */
static void assert_kept_as(struct dead_owner *dead, enum daxpin_owner owner)
{
	struct fixture *f = dead->f;
	struct reports reports = { .answer = 1 };
	int reported_ret = try_open(f, LONG_MS, &reports);
	int ret = reported_ret ? try_open(f, 0, NULL) : 0;

	end_holder(dead);
	assert_int_equal(reported_ret, -ECANCELED);
	assert_int_equal(reports.owner, owner);
	assert_int_equal(ret, -EBUSY);
	if (owner == DAXPIN_OWNER_KEPT) {
		assert_int_equal(reports.pid, dead->holder);
		assert_says_keeps(f, dead->holder);
	}
	assert_int_equal(try_open(f, LONG_MS, NULL), 0);
	assert_int_equal(pool_info(f).unclean, 1);
}

static void assert_kept(struct dead_owner *dead)
{
	assert_kept_as(dead, DAXPIN_OWNER_KEPT);
}

static void assert_not_kept(struct dead_owner *dead)
{
	int ret = try_open(dead->f, LONG_MS, NULL);

	end_holder(dead);
	assert_int_equal(ret, 0);
}

/* ----------------------------------------------------------------- children */

static void keep_all(struct fixture *f)
{
	(void)f;
}

static void descriptors_in_a_child_keep_a_dead_owners_lock(void **state)
{
	struct dead_owner dead = leave_holder_child(*state, keep_all);

	look_for_leftovers(&dead);
	assert_kept(&dead);
	assert_left(&dead, DESCRIPTOR | MAPPING, DESCRIPTOR | MAPPING);
}

/*
 * Closes the descriptors; a mapping of the locked file keeps the lock (kernel.md K27).
 */
static void keep_mappings(struct fixture *f)
{
	(void)f;
	if (syscall(SYS_close_range, 3, 199, 0))
		_exit(1);
}

static void mappings_in_a_child_keep_a_dead_owners_lock(void **state)
{
	struct dead_owner dead = leave_holder_child(*state, keep_mappings);

	look_for_leftovers(&dead);
	assert_kept(&dead);
	assert_left(&dead, MAPPING, MAPPING);
}

static void exec_sleep(struct fixture *f)
{
	(void)f;
	execlp("sleep", "sleep", "1000", NULL);
	_exit(1);
}

static void a_child_that_executes_does_not_keep_the_lock(void **state)
{
	struct dead_owner dead = leave_holder_child(*state, exec_sleep);

	look_for_leftovers(&dead);
	assert_not_kept(&dead);
	assert_left(&dead, 0, 0);
}

/* dup() makes a descriptor without FD_CLOEXEC, which the executed program inherits. */
static void exec_with_a_dup(struct fixture *f)
{
	char path[128];

	/* daxpin_lock_fd() does not work in a child, but /proc shows the descriptor. */
	for (int fd = 3; fd < 200; fd++) {
		char link[128] = "", name[32];

		snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
		segment_path(f, 0, path);
		if (readlink(name, link, sizeof(link) - 1) > 0 &&
		    !strcmp(link, path) && dup(fd) < 0)
			_exit(1);
	}
	exec_sleep(f);
}

static void a_dup_that_an_executed_program_inherits_keeps_the_lock(void **state)
{
	struct dead_owner dead = leave_holder_child(*state, exec_with_a_dup);

	look_for_leftovers(&dead);
	assert_kept(&dead);
	assert_left(&dead, DESCRIPTOR, DESCRIPTOR);
}

/*
 * A child shares the owner's lock and can remove it with this call. An open must still
 * notice that the owner is alive.
 */
static int unlock(void *arg)
{
	return flock(*(int *)arg, LOCK_UN);
}

static int unlock_in_a_child(struct fixture *f)
{
	int fd, ret = child_opens(f);

	if (ret)
		return -ECHILD;
	fd = daxpin_lock_fd(f->pool);
	return run_child(unlock, &fd) ? -ECHILD : 0;
}

static void a_living_owner_is_not_replaced_after_its_child_unlocked(void **state)
{
	struct fixture *f = *state;
	struct child child;
	struct reports reports = { .answer = 1 };
	int ret;

	close_pool(f);
	child = start_child(f, unlock_in_a_child, NULL);
	assert_int_equal(child.result, 0);
	ret = try_open(f, LONG_MS, &reports);
	kill_child(&child);
	assert_int_equal(ret, -ECANCELED);
	assert_int_equal(reports.owner, DAXPIN_OWNER_ALIVE);
	assert_int_equal(reports.pid, child.pid);
	assert_int_equal(try_open(f, LONG_MS, NULL), 0);
}

static void a_living_owner_has_left_nothing_behind(void **state)
{
	struct fixture *f = *state;
	struct dead_owner alive = { .f = f };
	struct child child;
	char words[64];
	int ret;

	look_for_leftovers(&alive);
	assert_int_equal(alive.left.ret, -EBUSY);
	assert_says(f, "this process");
	close_pool(f);
	look_for_leftovers(&alive);
	assert_int_equal(alive.left.ret, 0);
	assert_int_equal(alive.left.owner, 0);
	child = start_child(f, child_opens, NULL);
	look_for_leftovers(&alive);
	kill_child(&child);
	ret = alive.left.ret;
	snprintf(words, sizeof(words), "process %d (", child.pid);
	assert_int_equal(ret, -EBUSY);
	assert_says(f, words);
	look_for_leftovers(&alive);
	assert_int_equal(alive.left.ret, 0);
	assert_int_equal(alive.left.owner, child.pid);
}

static void leftovers_of_something_else_are_refused(void **state)
{
	struct fixture *f = *state;
	struct dead_owner none = { .f = f };
	char path[128];

	close_pool(f);
	assert_int_equal(daxpin_leftovers(NULL, NULL, 0, note_leftover, &none, NULL),
			 -EINVAL);
	assert_int_equal(daxpin_leftovers(f->path, f->errmsg, sizeof(f->errmsg), NULL,
					  NULL, NULL), -EINVAL);
	assert_says(f, "fn is NULL");
	assert_int_equal(daxpin_leftovers("/dev", NULL, 0, note_leftover, &none, NULL),
			 -EMEDIUMTYPE);
	assert_int_equal(daxpin_leftovers("/dev/null", NULL, 0, note_leftover, &none,
					  NULL), -ENODEV);
	segment_path(f, 0, path);
	assert_int_equal(truncate(path, 0), 0);
	look_for_leftovers(&none);
	assert_int_equal(none.left.ret, -EUCLEAN);
	assert_int_equal(none.left.kinds, 0);
}

/*
 * After a clean close no I/O can reach the pool, so a descriptor of its file in any
 * process does not delay the next open.
 */
static void a_dup_does_not_keep_the_lock_of_a_closed_pool(void **state)
{
	struct fixture *f = *state;
	struct child child;
	int fd = dup(daxpin_lock_fd(f->pool));

	assert_true(fd >= 0);
	close_pool(f);
	child = start_child(f, child_opens, child_closes);
	assert_int_equal(child.result, 0);
	release_child(&child);
	assert_int_equal(end_child(&child), 0);
	close(fd);
	open_pool(f);
}

/* -------------------------------------------------- descriptors that are sent */

static void send_fd(int socket, int fd)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = "";
	struct iovec iov = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	if (sendmsg(socket, &message, 0) != 1)
		_exit(1);
}

/* Receives a descriptor, which stays open in this process. */
static void receive_fd(int socket)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};

	if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != 1 ||
	    !CMSG_FIRSTHDR(&message))
		_exit(1);
}

/*
 * Since Linux 6.7 a ring cannot be sent, but a process that may trace another can take
 * its ring.
 */
static void take_ring(int socket)
{
	int pid, number, pidfd;

	if (read(socket, &pid, sizeof(pid)) != sizeof(pid) ||
	    read(socket, &number, sizeof(number)) != sizeof(number))
		_exit(1);
	pidfd = syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0 || syscall(SYS_pidfd_getfd, pidfd, number, 0) < 0)
		_exit(1);
}

/* What the owner passes to the holder. */
enum passed { LOCK_FD, ANCHOR_FD, RING_FD };

struct passing {
	struct fixture *f;
	enum passed what;
	int socket[2];			/* the owner's end, the holder's end */
};

static int open_and_pass(void *arg, int parent)
{
	const struct passing *passing = arg;
	struct fixture *f = passing->f;
	struct daxpin_uring *uring;
	struct io_uring ring;

	(void)parent;
	if (child_opens(f) || io_uring_queue_init(8, &ring, 0) ||
	    daxpin_uring_guard(f->pool, &ring, NULL, &uring))
		return 1;
	if (passing->what == RING_FD) {
		send_value(passing->socket[0], getpid());
		send_value(passing->socket[0], ring.ring_fd);
	} else {
		send_fd(passing->socket[0], passing->what == LOCK_FD ?
			daxpin_lock_fd(f->pool) : daxpin_anchor_fd(f->pool));
	}
	pause_forever();
	return 1;
}

static int keep_passed(void *arg, int parent)
{
	const struct passing *passing = arg;

	close(passing->socket[0]);
	if (passing->what == RING_FD)
		take_ring(passing->socket[1]);
	else
		receive_fd(passing->socket[1]);
	send_value(parent, 0);
	pause_forever();
	return 1;
}

/*
 * The holder has no other descriptor of the pool and did not inherit anything from the
 * owner.
 */
static struct dead_owner leave_holder_with(struct fixture *f, enum passed what)
{
	struct passing passing = { .f = f, .what = what };
	struct child holder, owner;

	need_io_uring();
	close_pool(f);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
				    passing.socket), 0);
	holder = fork_child(keep_passed, &passing);
	owner = fork_child(open_and_pass, &passing);
	close(passing.socket[0]);
	close(passing.socket[1]);
	assert_int_equal(receive_value(holder.fd), 0);
	close(holder.fd);
	kill_child(&owner);
	return (struct dead_owner) {
		.f = f, .owner = owner.pid, .holder = holder.pid,
	};
}

static void a_process_that_was_sent_the_file_keeps_the_lock(void **state)
{
	struct dead_owner dead = leave_holder_with(*state, LOCK_FD);

	look_for_leftovers(&dead);
	assert_kept(&dead);
	assert_left(&dead, DESCRIPTOR, DESCRIPTOR);
}

/* In another pid namespace than the first, /proc/locks has no locks of dead processes.
 * The inode of the first one is a constant of the kernel. */
static enum daxpin_owner owner_that_is_dead(void)
{
	struct stat stat_now;

	assert_int_equal(stat("/proc/self/ns/pid", &stat_now), 0);
	return stat_now.st_ino == 0xEFFFFFFC ? DAXPIN_OWNER_DRAINING :
					       DAXPIN_OWNER_UNKNOWN;
}

/* The files are in the queue of that socket, and /proc shows only their number. */
static void a_process_that_was_sent_the_anchor_keeps_the_lock(void **state)
{
	struct dead_owner dead = leave_holder_with(*state, ANCHOR_FD);

	look_for_leftovers(&dead);
	assert_kept_as(&dead, owner_that_is_dead());
	assert_left(&dead, SOCKET | REQUESTS, REQUESTS);
}

static int wait_for_parent(void *arg, int parent)
{
	(void)arg;
	return !await_step(parent);
}

/* Another open of the same file, without the lock, keeps nothing. */
static void a_program_that_reads_the_file_is_no_leftover(void **state)
{
	struct dead_owner dead = leave_holder_child(*state, keep_mappings);
	struct child reader;
	char path[128];
	int fd;

	segment_path(dead.f, 0, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	reader = fork_child(wait_for_parent, NULL);
	close(fd);
	look_for_leftovers(&dead);
	stop_child(&reader);
	assert_kept(&dead);
	assert_left(&dead, MAPPING, MAPPING);
}

/* Older kernels show file names in a ring's file table without their directories. */
static bool rings_show_paths(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	char path[64], text[4096] = "";
	struct io_uring ring;
	FILE *fdinfo;

	assert_int_equal(io_uring_queue_init(8, &ring, 0), 0);
	assert_int_equal(io_uring_register_files(&ring, &fd, 1), 0);
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", ring.ring_fd);
	fdinfo = fopen(path, "re");
	assert_non_null(fdinfo);
	assert_true(fread(text, 1, sizeof(text) - 1, fdinfo) > 0);
	fclose(fdinfo);
	io_uring_queue_exit(&ring);
	close(fd);
	return strstr(text, ": /dev/null");
}

static void a_ring_obtained_by_pidfd_getfd_keeps_the_lock(void **state)
{
	struct dead_owner dead = leave_holder_with(*state, RING_FD);

	look_for_leftovers(&dead);
	assert_kept_as(&dead, rings_show_paths() ? DAXPIN_OWNER_KEPT :
						    DAXPIN_OWNER_DRAINING);
	if (rings_show_paths())
		assert_left(&dead, RING, RING);
	else
		assert_left(&dead, RING | REQUESTS, REQUESTS);
}

/*
 * The adapter puts a socket into the ring's file table. All files of the pool were sent
 * over that socket and not received, so the ring keeps all their locks (kernel.md K25).
 */
static void a_ring_keeps_the_locks_of_all_segments(void **state)
{
	struct dead_owner dead = leave_holder_with(*state, RING_FD);
	char path[128];
	int fd, ret;

	segment_path(dead.f, 1, path);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	ret = flock(fd, LOCK_EX | LOCK_NB) ? errno : 0;
	end_holder(&dead);
	assert_int_equal(ret, EWOULDBLOCK);
	/* The kernel frees a ring some time after its process ends. */
	assert_int_equal(flock(fd, LOCK_EX), 0);
	close(fd);
	assert_int_equal(try_open(dead.f, LONG_MS, NULL), 0);
}

/* --------------------------------------------------------------- namespaces */

/* Returns 0 if the open fails and names the owner's pid namespace as the reason. */
static int fails_to_open(void *arg)
{
	struct fixture *f = arg;
	struct daxpin_pool *pool;

	f->options.deadline_ns = 0;
	if (daxpin_pool_open(f->path, &f->options, &pool) != -EBUSY)
		return 1;
	return !strstr(f->errmsg, "another pid namespace");
}

/* Runs the same in a new pid namespace. Returns 77 if none can be made. */
static int fails_to_open_in_a_namespace(struct fixture *f)
{
	return unshare(CLONE_NEWPID) ? 77 : run_child(fails_to_open, f);
}

static void an_owner_in_another_pid_namespace_is_not_replaced(void **state)
{
	struct fixture *f = *state;
	struct child child = start_child(f, fails_to_open_in_a_namespace, NULL);

	kill_child(&child);
	if (child.result == 77) {
		print_message("# skipped: this user may not create a pid namespace\n");
		skip();
	}
	assert_int_equal(child.result, 0);
}

static void note_namespaces(const struct daxpin_leftover *leftover, void *arg)
{
	if (leftover->kind == DAXPIN_LEFTOVER_UNKNOWN &&
	    strstr(leftover->sentence, "pid namespace"))
		*(int *)arg = 1;
}

/* Returns 0 if it lists that the processes of other namespaces are unknown. */
static int lists_unknown_processes(void *arg)
{
	struct fixture *f = arg;
	int listed = 0;

	return daxpin_leftovers(f->path, NULL, 0, note_namespaces, &listed, NULL) < 1 ||
	       !listed;
}

static int lists_in_a_namespace(struct fixture *f)
{
	return unshare(CLONE_NEWPID) ? 77 : run_child(lists_unknown_processes, f);
}

/* There /proc shows all processes, and not that of another mount. */
static void processes_of_other_pid_namespaces_are_unknown(void **state)
{
	struct dead_owner dead = leave_holder_child(*state, keep_mappings);
	struct child child = start_child(dead.f, lists_in_a_namespace, NULL);

	kill_child(&child);
	assert_kept(&dead);
	if (child.result == 77) {
		print_message("# skipped: this user may not create a pid namespace\n");
		skip();
	}
	assert_int_equal(child.result, 0);
}

static int own_in_another_namespace(void *arg, int parent)
{
	send_value(parent, child_opens(arg));
	pause_forever();
	return 1;
}

static int opens_in_another_namespace(struct fixture *f)
{
	struct child child;
	int ret;

	if (unshare(CLONE_NEWPID))
		return 77;
	child = fork_child(own_in_another_namespace, f);
	return receive_message(child.fd, &ret, sizeof(ret)) ? ret : -1;
}

static void an_owner_in_a_child_pid_namespace_is_named_until_it_dies(void **state)
{
	struct fixture *f = *state;
	struct reports reports = { .answer = 1 };
	struct child child;
	int ret;

	close_pool(f);
	child = start_child(f, opens_in_another_namespace, NULL);
	if (child.result == 77) {
		kill_child(&child);
		open_pool(f);
		print_message("# skipped: this user may not create a pid namespace\n");
		skip();
	}
	assert_int_equal(child.result, 0);
	ret = try_open(f, LONG_MS, &reports);
	/* The owner is a child of this child and is killed when its parent dies. */
	kill_child(&child);
	assert_int_equal(ret, -ECANCELED);
	assert_int_equal(reports.owner, DAXPIN_OWNER_ALIVE);
	assert_true(reports.pid > 0 && reports.pid != child.pid);
	assert_int_equal(try_open(f, LONG_MS, NULL), 0);
}

/* ------------------------------------------------- rings of owners that die */

/*
 * How an owner makes and attaches its ring, how it ends, and what its successor does.
 */
struct kind {
	const char *name;
	unsigned int setup;		/* io_uring_setup() flags */
	unsigned char sqe;		/* IOSQE_ flags of the read */
	bool guard;			/* guarded: the owner prepares the SQE itself */
	bool unattached;		/* neither attached nor guarded */
	int slot;			/* the file slot in a sparse table, or -1 */
	int idle_ring;			/* another ring, made 1: later, -1: before */
	bool exec;			/* the owner executes another program */
	bool create;			/* the successor overwrites the pool */
	enum daxpin_owner report;	/* what an open must report; 0: DRAINING */
};

static const struct kind kinds[] = {
	/*
	 * With SQPOLL the owner's exit, and with an exec the exec, waits for the read.
	 * These come first, because it can take minutes until they do on a busy machine
	 * without KVM, and the kernel logs a warning if the ring of a dead owner waits
	 * for five.
	 */
	{ "SQPOLL", .slot = -1, .setup = IORING_SETUP_SQPOLL,
	  .report = DAXPIN_OWNER_ALIVE },
	{ "exec instead of kill", .slot = -1, .exec = true,
	  .report = DAXPIN_OWNER_ALIVE },
	{ "attached", .slot = -1 },
	{ "guarded", .slot = -1, .guard = true },
	{ "in a slot", .slot = 5 },
	{ "guarded in a slot", .slot = 5, .guard = true },
	{ "DEFER_TASKRUN", .slot = -1, .setup = IORING_SETUP_DEFER_TASKRUN |
						IORING_SETUP_SINGLE_ISSUER },
	{ "in a worker", .slot = -1, .sqe = IOSQE_ASYNC },
	{ "the first of two rings", .slot = -1, .idle_ring = 1 },
	{ "the second of two rings", .slot = -1, .idle_ring = -1 },
	{ "overwritten by a create", .slot = -1, .create = true },
	{ "not attached", .slot = -1, .unattached = true,
	  .report = DAXPIN_OWNER_PINNED },
};

#define KINDS		(sizeof(kinds) / sizeof(kinds[0]))

struct crash {
	const struct kind *kind;
	struct fixture f;
	struct daxpin_extent extent;
	struct child child;
	pthread_t thread;		/* runs the successor */
	struct reports reports;
	_Atomic bool succeeded;		/* the successor has the pool */
	unsigned char *memory;
};

static void add_ring(struct fixture *f, const struct kind *kind,
		     struct io_uring *ring, struct daxpin_uring **ret_uring)
{
	struct daxpin_uring_options options = {
		.size = sizeof(options),
		.flags = kind->slot >= 0 ? DAXPIN_URING_FILE_SLOT : 0,
		.file_slot = kind->slot >= 0 ? kind->slot : 0,
	};
	int ret = io_uring_queue_init(8, ring, kind->setup);

	if (!ret && kind->slot >= 0)
		ret = io_uring_register_files_sparse(ring, kind->slot +
						     DAXPIN_URING_FILES);
	if (!ret && kind->guard)
		ret = daxpin_uring_guard(f->pool, ring, &options, ret_uring);
	else if (!ret && !kind->unattached)
		ret = daxpin_uring_attach(f->pool, ring, &options, ret_uring);
	if (ret) {
		fprintf(stderr, "# %s: %d\n", kind->name, ret);
		_exit(1);
	}
}

static void start_slow_read(struct crash *crash, struct io_uring *ring,
			    struct daxpin_uring *uring, int fd)
{
	static struct daxpin_uring_io io;
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	struct daxpin_extent extent;
	struct fixture *f = &crash->f;

	if (daxpin_extent_at(f->pool, crash->extent.addr, &extent))
		_exit(1);
	if (crash->kind->guard || crash->kind->unattached)
		io_uring_prep_read(sqe, fd, daxpin_ptr(f->pool, extent, 0),
				   LENGTH, 0);
	else if (daxpin_uring_prep_read(uring, &io, sqe, fd, extent, 0, LENGTH,
					0))
		_exit(1);
	sqe->flags |= crash->kind->sqe;
	if (io_uring_submit(ring) != 1)
		_exit(1);
}

static int own_with_ring(void *arg, int socket)
{
	struct crash *crash = arg;
	const struct kind *kind = crash->kind;
	static struct daxpin_uring *uring, *other;
	static struct io_uring ring, idle;
	int fd = held_disk_open(&disk);

	if (fd < 0 || child_opens(&crash->f))
		return 1;
	if (kind->idle_ring < 0)
		add_ring(&crash->f, kind, &idle, &other);
	add_ring(&crash->f, kind, &ring, &uring);
	if (kind->idle_ring > 0)
		add_ring(&crash->f, kind, &idle, &other);
	start_slow_read(crash, &ring, uring, fd);
	send_value(socket, 0);
	if (kind->exec) {
		/* kill_owner() sends this value when the read is in flight. */
		receive_value(socket);
		exec_sleep(&crash->f);
	}
	pause_forever();
	return 1;
}

static int make_crash(struct crash *crash, const struct kind *kind)
{
	struct fixture *f = &crash->f;

	crash->kind = kind;
	f->options = (struct daxpin_pool_options) {
		.size = sizeof(f->options), .pool_size = 32 * MIB,
		.segment_size = 32 * MIB,
		.errmsg = f->errmsg, .errmsg_size = sizeof(f->errmsg),
	};
	snprintf(f->path, sizeof(f->path), "%s/daxpin-test-XXXXXX", directory);
	if (!mkdtemp(f->path))
		return -1;
	create_pool(f);
	crash->extent = live(f, LENGTH);
	memset(daxpin_ptr(f->pool, crash->extent, 0), 0, LENGTH);
	close_pool(f);
	return 0;
}

static void begin_crash(struct crash *crash)
{
	crash->child = fork_child(own_with_ring, crash);
	assert_int_equal(receive_value(crash->child.fd), 0);
}

/*
 * Returns when the owner is dead or, if the successor must report it as alive, when its
 * exit or exec waits for the read. Does not reap the owner, so that its pid is not
 * reused before the end of the test.
 */
static void kill_owner(struct crash *crash)
{
	siginfo_t info;

	if (crash->kind->exec)
		send_value(crash->child.fd, 0);
	else
		kill(crash->child.pid, SIGKILL);
	if (crash->kind->report == DAXPIN_OWNER_ALIVE)
		assert_true(kernel_stack_wait(crash->child.pid, "io_uring_cancel"));
	else
		assert_int_equal(waitid(P_PID, crash->child.pid, &info,
					WEXITED | WNOWAIT), 0);
}

static void reap_owner(struct crash *crash)
{
	if (!crash->kind->exec)
		assert_int_equal(end_child(&crash->child), -SIGKILL);
}

/* The successor: opens or overwrites the pool and fills the extent's memory. */
static void *succeed_owner(void *arg)
{
	struct crash *crash = arg;
	struct fixture *f = &crash->f;
	struct daxpin_extent extent = crash->extent;

	if (crash->kind->create) {
		f->options.flags = DAXPIN_POOL_OVERWRITE;
		f->options.deadline_ns = daxpin_deadline_ms(LONG_MS);
		f->options.progress = note_report;
		f->options.progress_arg = &crash->reports;
		create_pool(f);
		f->options.flags = 0;
		extent = reserve(f, LENGTH);
		assert_int_equal(extent.addr, crash->extent.addr);
	} else {
		if (try_open(f, LONG_MS, &crash->reports))
			fail_msg("%s: %s", crash->kind->name, f->errmsg);
		assert_int_equal(daxpin_extent_at(f->pool, extent.addr,
						  &extent), 0);
	}
	crash->memory = daxpin_ptr(f->pool, extent, 0);
	memset(crash->memory, OURS, LENGTH);
	atomic_store(&crash->succeeded, true);
	return NULL;
}

static void start_successor(struct crash *crash)
{
	assert_int_equal(pthread_create(&crash->thread, NULL, succeed_owner,
					crash), 0);
}

static uint32_t expected_report(const struct crash *crash)
{
	return 1u << (crash->kind->report ? crash->kind->report :
					  DAXPIN_OWNER_DRAINING);
}

/*
 * Waits until the successor has made the expected report, so that the reads can land.
 * It will not come after a report of pins or when the successor has the pool, because
 * the successor then has the lock. check_crash() fails in this case.
 */
static void await_report(struct crash *crash)
{
	const uint32_t enough = expected_report(crash) | 1u << DAXPIN_OWNER_PINNED;
	int ms = 0;

	while (!(atomic_load(&crash->reports.all) & enough) &&
	       !atomic_load(&crash->succeeded) && ms++ < HANG_S * 1000)
		usleep(1000);
}

static void join_successor(struct crash *crash)
{
	assert_int_equal(pthread_join(crash->thread, NULL), 0);
}

static bool is_ours(const volatile unsigned char *memory)
{
	for (uint32_t i = 0; i < LENGTH; i++)
		if (memory[i] != OURS)
			return false;
	return true;
}

static void check_crash(struct crash *crash)
{
	static const char *const names[] = {
		[DAXPIN_OWNER_ALIVE] = "its owner, alive",
		[DAXPIN_OWNER_DRAINING] = "the lock, kept by I/O",
		[DAXPIN_OWNER_UNKNOWN] = "the lock, of an unknown owner",
		[DAXPIN_OWNER_RDMA] = "RDMA",
		[DAXPIN_OWNER_PINNED] = "pins",
		[DAXPIN_OWNER_KEPT] = "the lock, kept by a process",
	};
	const uint32_t alive = 1u << DAXPIN_OWNER_ALIVE;
	const uint32_t draining = 1u << DAXPIN_OWNER_DRAINING;
	uint32_t reports = atomic_load(&crash->reports.all);

	for (uint32_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (reports & 1u << i && names[i])
			print_message("# %s: waited for %s\n",
				      crash->kind->name, names[i]);
	if (crash->kind->unattached)
		assert_int_equal(reports & (alive | draining), 0);
	assert_true(reports & expected_report(crash));
	assert_int_equal(crash->reports.pid, crash->child.pid);
	assert_true(is_ours(crash->memory));
}

/*
 * Starts all reads, kills all owners, starts all successors, and lets the reads land.
 */
static void crash_all(struct crash *crash)
{
	void (*const step[])(struct crash *) = {
		kill_owner, start_successor, await_report,
	};

	for (size_t i = 0; i < KINDS; i++) {
		begin_crash(&crash[i]);
		assert_true(held_disk_wait(&disk, i + 1));
	}
	for (size_t n = 0; n < sizeof(step) / sizeof(step[0]); n++)
		for (size_t i = 0; i < KINDS; i++)
			step[n](&crash[i]);
	/* Lets all reads land. No owner is left to start another. */
	assert_int_equal(held_disk_land(&disk), 0);
	for (size_t i = 0; i < KINDS; i++)
		join_successor(&crash[i]);
	for (size_t i = 0; i < KINDS; i++)
		reap_owner(&crash[i]);
	assert_int_equal(held_disk_reads(&disk), 0);
}

static int crash_setup(void **state)
{
	struct crash *crash = calloc(KINDS, sizeof(*crash));

	*state = crash;
	if (held_disk_make(&disk))
		return -1;
	for (size_t i = 0; crash && i < KINDS; i++)
		if (make_crash(&crash[i], &kinds[i]))
			return -1;
	return crash ? 0 : -1;
}

static int crash_teardown(void **state)
{
	struct crash *crash = *state;
	/*
	 * The reads must land first: removing the files would wait for reads in flight.
	 */
	int ret = held_disk_land(&disk);

	for (size_t i = 0; i < KINDS; i++) {
		if (crash[i].kind->exec && crash[i].child.pid > 0)
			stop_child(&crash[i].child);
		ret |= daxpin_pool_close(crash[i].f.pool);
		nftw(crash[i].f.path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	}
	free(crash);
	return held_disk_remove(&disk) | ret;
}

static void successors_open_only_after_the_reads_of_dead_owners_landed(void **state)
{
	struct crash *crash = *state;

	crash_all(crash);
	for (size_t i = 0; i < KINDS; i++)
		check_crash(&crash[i]);
}

/* -------------------------------------------------------------------- main */

static int setup(void **state)
{
	return fixture_setup_sized(state, 64 * MIB);
}

static int run_crash(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			successors_open_only_after_the_reads_of_dead_owners_landed,
			crash_setup, crash_teardown),
	};

	directory = getenv("DAXPIN_TEST_FSDAX");
	if (!directory || !getenv("DAXPIN_TEST_DISK")) {
		printf("1..0 # SKIP needs DAXPIN_TEST_FSDAX and DAXPIN_TEST_DISK, a disk that reads 0xA5 (./dev lab has both)\n");
		return 0;
	}
	return cmocka_run_group_tests_name("owner_lock_holder crash", tests, NULL,
					   NULL);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, \
						   fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(descriptors_in_a_child_keep_a_dead_owners_lock),
		TEST(mappings_in_a_child_keep_a_dead_owners_lock),
		TEST(a_child_that_executes_does_not_keep_the_lock),
		TEST(a_dup_that_an_executed_program_inherits_keeps_the_lock),
		TEST(a_living_owner_is_not_replaced_after_its_child_unlocked),
		TEST(a_living_owner_has_left_nothing_behind),
		TEST(leftovers_of_something_else_are_refused),
		TEST(a_dup_does_not_keep_the_lock_of_a_closed_pool),
		TEST(a_process_that_was_sent_the_file_keeps_the_lock),
		TEST(a_process_that_was_sent_the_anchor_keeps_the_lock),
		TEST(a_program_that_reads_the_file_is_no_leftover),
		TEST(a_ring_obtained_by_pidfd_getfd_keeps_the_lock),
		TEST(a_ring_keeps_the_locks_of_all_segments),
		TEST(an_owner_in_another_pid_namespace_is_not_replaced),
		TEST(processes_of_other_pid_namespaces_are_unknown),
		TEST(an_owner_in_a_child_pid_namespace_is_named_until_it_dies),
	};

	/* Orphaned holders become children of this process, which reaps them. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (argc > 1 && !strcmp(argv[1], "crash"))
		return run_crash();
	return cmocka_run_group_tests_name("owner_lock_holder", tests, NULL, NULL);
}
