/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * leftovers devdax|fsdax: an owner is killed that had a ring and a verbs context, a
 * forked child, and that had sent a descriptor to another process. While all of them
 * are left, daxpin_leftovers() names each; when they have ended, it names nothing.
 */
#include <daxpin-status.h>
#include <daxpin-uring.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include "child.h"
#include "rdma_fixture.h"

static struct place place;
/* The taker has the owner's ring, and the receiver the descriptor with the lock. */
static struct child owner, taker, receiver;
static pid_t child;			/* the owner's */
static pid_t dead;			/* the owner, when it is dead */
static int descriptors[2];		/* a socket: the owner's end, the receiver's */

struct ring {
	pid_t pid;
	int fd;
};

static void pause_forever(void)
{
	for (;;)
		pause();
}

static void end_process(struct child *process)
{
	if (process->pid > 0)
		stop_child(process);
	process->pid = 0;
}

/* ------------------------------------------------- those that outlive the owner */

/* Since Linux 6.7 a ring cannot be sent, but taken. */
static int take_ring(void *arg, int parent)
{
	struct ring ring;
	int pidfd;

	(void)arg;
	if (!receive_message(parent, &ring, sizeof(ring)))
		return 1;
	pidfd = syscall(SYS_pidfd_open, ring.pid, 0);
	if (pidfd < 0 || syscall(SYS_pidfd_getfd, pidfd, ring.fd, 0) < 0)
		return 2;
	send_step(parent);
	pause_forever();
	return 3;
}

union control {
	char bytes[CMSG_SPACE(sizeof(int))];
	struct cmsghdr header;
};

static int receive_descriptor(void *arg, int parent)
{
	union control control;
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};

	(void)arg;
	if (recvmsg(descriptors[1], &message, MSG_CMSG_CLOEXEC) != 1 ||
	    !CMSG_FIRSTHDR(&message))
		return 1;
	send_step(parent);
	pause_forever();
	return 2;
}

static int send_descriptor(int fd)
{
	union control control = { "" };
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};

	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	return sendmsg(descriptors[0], &message, 0) == 1 ? 0 : -1;
}

/* ------------------------------------------------------------------- the owner */

static int open_pool(struct fixture *f, uint64_t ms)
{
	struct daxpin_pool_options options = {
		.size = sizeof(options), .deadline_ns = daxpin_deadline_ms(ms),
		.errmsg = f->errmsg, .errmsg_size = sizeof(f->errmsg),
	};

	return daxpin_pool_open(f->path, &options, &f->pool);
}

/* Sends the child's pid, and where the ring is. */
static int own(void *arg, int parent)
{
	static struct daxpin_uring *uring;
	static struct io_uring ring;
	struct fixture *f = arg;
	struct ring where;
	pid_t pid;

	if (open_pool(f, 60000) || nic_open(&f->nic, rdma_device) || attach(f)) {
		printf("# %s\n", f->errmsg);
		fflush(stdout);
		return 1;
	}
	if (io_uring_queue_init(8, &ring, 0) ||
	    daxpin_uring_attach(f->pool, &ring, NULL, &uring) ||
	    send_descriptor(daxpin_lock_fd(f->pool)))
		return 2;
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, 0);
		pause_forever();
	}
	where = (struct ring) { getpid(), ring.ring_fd };
	send_message(parent, &pid, sizeof(pid));
	send_message(parent, &where, sizeof(where));
	pause_forever();
	return 3;
}

/* Returns when the owner is dead. */
static void leave_all(struct fixture *f)
{
	struct ring where;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
				    descriptors), 0);
	taker = fork_child(take_ring, NULL);
	receiver = fork_child(receive_descriptor, NULL);
	owner = fork_child(own, f);
	close(descriptors[0]);
	close(descriptors[1]);
	assert_true(receive_message(owner.fd, &child, sizeof(child)));
	assert_true(receive_message(owner.fd, &where, sizeof(where)));
	assert_true(send_message(taker.fd, &where, sizeof(where)));
	assert_true(await_step(taker.fd));
	assert_true(await_step(receiver.fd));
	dead = owner.pid;
	end_process(&owner);
}

/* ----------------------------------------------------------------------- the list */

struct found {
	uint32_t child, taker, receiver;	/* a bit for each kind */
	bool context;
	int others;			/* certain ones */
};

static void note(const struct daxpin_leftover *leftover, void *arg)
{
	struct found *found = arg;
	const uint32_t bit = 1u << leftover->kind;

	print_message("# kind %u, certain %d: %s\n", leftover->kind, leftover->certain,
		      leftover->sentence);
	if (leftover->kind == DAXPIN_LEFTOVER_CONTEXT)
		found->context = !strcmp(leftover->device, rdma_device);
	else if (!leftover->pid)
		/* Requests; of the taker, if the kernel does not show its ring. */
		found->others += leftover->certain;
	else if (leftover->pid == child)
		found->child |= bit;
	else if (leftover->pid == taker.pid)
		found->taker |= bit;
	else if (leftover->pid == receiver.pid)
		found->receiver |= bit;
	else
		found->others += leftover->certain;
}

static struct found list(struct fixture *f)
{
	struct found found = { 0 };
	uint32_t pid = 0;

	if (daxpin_leftovers(f->path, f->errmsg, sizeof(f->errmsg), note, &found,
			     &pid) < 0)
		fail_msg("%s", f->errmsg);
	assert_int_equal(pid, dead);
	return found;
}

static bool has(uint32_t kinds, enum daxpin_leftover_kind kind)
{
	return kinds >> kind & 1;
}

static void end_child_of_owner(void)
{
	if (child <= 0)
		return;
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, NULL, 0), child);
	child = 0;
}

static void everything_that_a_killed_owner_left_is_named(void **state)
{
	struct fixture *f = *state;
	struct found found;

	leave_all(f);
	found = list(f);
	assert_true(found.context);
	assert_true(has(found.child, DAXPIN_LEFTOVER_DESCRIPTOR));
	assert_true(has(found.child, DAXPIN_LEFTOVER_MAPPING));
	assert_true(has(found.taker, DAXPIN_LEFTOVER_RING));
	assert_true(has(found.receiver, DAXPIN_LEFTOVER_DESCRIPTOR));
	assert_int_equal(found.others, 0);
	assert_int_equal(open_pool(f, 0), -EBUSY);
	end_child_of_owner();
	end_process(&receiver);
	found = list(f);
	assert_int_equal(found.child | found.receiver, 0);
	assert_true(has(found.taker, DAXPIN_LEFTOVER_RING));
	assert_int_equal(open_pool(f, 0), -EBUSY);
	end_process(&taker);
	if (open_pool(f, 600000))
		fail_msg("%s", f->errmsg);
	assert_int_equal(daxpin_pool_close(f->pool), 0);
	dead = 0;
	found = list(f);
	assert_false(found.context);
	assert_int_equal(found.child | found.receiver | found.taker, 0);
}

/* -------------------------------------------------------------------------- main */

static int make(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f || make_pool(&place, f->path, &f->pool))
		return -1;
	*state = f;
	f->flags = place.directory ? DAXPIN_RDMA_BOUNCE : 0;
	return daxpin_pool_close(f->pool);
}

/* Also of a test that failed. */
static int end(void **state)
{
	struct fixture *f = *state;

	end_child_of_owner();
	end_process(&owner);
	end_process(&taker);
	end_process(&receiver);
	if (!place.device)
		remove_tree(f->path);
	free(f);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			everything_that_a_killed_owner_left_is_named, make, end),
	};

	if (!rdma_find_device())
		return 77;
	if (argc > 1 && !strcmp(argv[1], "devdax"))
		place.device = getenv("DAXPIN_TEST_DAX");
	else
		place.directory = getenv("DAXPIN_TEST_FSDAX");
	if (!place.device && !place.directory) {
		print_message("# skipped: neither DAXPIN_TEST_DAX nor DAXPIN_TEST_FSDAX names a place\n");
		return 77;
	}
	/* The owner's child becomes one of this process. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	return cmocka_run_group_tests_name("leftovers", tests, NULL, NULL);
}
