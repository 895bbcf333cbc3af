/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ofi_crash [devdax]: owners that die with grants over verbs;ofi_rxm, while a peer
 * writes. The next open waits for the dead owner's verbs context, which the attach has
 * put on record, and afterwards no byte of the peer arrives. Needs root: the program
 * makes its own soft-RoCE device. It takes one to three minutes on an emulated CPU,
 * most of it for five trials. So it is in no list of runs, nor is `ofi_revoke verbs`:
 *
 *	./dev lab -- tests/lab/ofi_crash
 */
#include <fcntl.h>
#include <poll.h>
#include <rdma/fi_domain.h>
#include <stdbool.h>
#include "child.h"
#include "fixture.h"
#include "ofi_peer.h"

#define BYTES		(8u << 20)
#define EXTENTS_MAX	4096
#define NEXT		0x77		/* what the next owner stores */
#define HANG_MS		600000		/* only ends what hangs */
#define LATE_MS		100		/* for bytes that arrive late */
#define KILLS		3

static struct fixture fix;
static char directory[64];		/* with the pool, unless it is on device-dax */
static const char *device;		/* device-dax, or NULL */
static struct child owner, peer;
/* A pipe: a byte, or the end of the file, ends the process of keep_context(). */
static int release[2] = { -1, -1 };

static int open_pool(uint64_t ms)
{
	fix.options.flags = 0;
	fix.options.deadline_ns = daxpin_deadline_ms(ms);
	fix.errmsg[0] = '\0';
	return daxpin_pool_open(fix.path, &fix.options, &fix.pool);
}

/* ---------------------------------------------------------------- the owner */

/* Forks a process that has the verbs context open, but not the pool's lock. */
static bool keep_context(void)
{
	pid_t pid = fork();
	char byte;

	if (pid)
		return pid > 0;
	close(release[1]);
	_exit(daxpin_pool_close(fix.pool) || read(release[0], &byte, 1) != 1);
}

static int give(struct daxpin_ofi *ofi, struct ofi_order *order)
{
	const struct daxpin_ofi_grant_options options = {
		.size = sizeof(options), .access = FI_REMOTE_WRITE,
		.errmsg = fix.errmsg, .errmsg_size = sizeof(fix.errmsg),
	};
	struct daxpin_ofi_grant *grant;
	struct daxpin_ofi_peer *to;
	struct daxpin_extent extent;

	order->name_size = sizeof(order->name);
	if (daxpin_ofi_peer_open(ofi, NULL, &to) ||
	    daxpin_reserve(fix.pool, BYTES, 0, &extent) ||
	    daxpin_ofi_grant(to, extent, &options, &grant) ||
	    daxpin_ofi_export(grant, order->descriptor,
			      sizeof(order->descriptor)) < 0)
		return -1;
	return daxpin_ofi_peer_name(to, order->name, &order->name_size);
}

/* Grants an extent, and makes progress until it is killed. */
static int own(void *arg, int fd)
{
	struct daxpin_ofi_options options = {
		.size = sizeof(options),
		.errmsg = fix.errmsg, .errmsg_size = sizeof(fix.errmsg),
	};
	struct ofi_order order = { .type = OFI_WRITE, .value = 0x11 };
	const bool *keep = arg;
	struct daxpin_ofi *ofi;

	if (open_pool(HANG_MS) || open_provider(OFI_VERBS) || lacks_provider() ||
	    daxpin_ofi_attach(fix.pool, fabric, info, &options, &ofi) ||
	    give(ofi, &order)) {
		print_message("# the owner: %s\n", fix.errmsg);
		return 1;
	}
	if (*keep && !keep_context())
		return 2;
	if (!send_message(fd, &order, sizeof(order)))
		return 3;
	while (!daxpin_ofi_service(ofi))
		;
	return 4;
}

/* Starts an owner and the peer's write to it, and kills the owner. */
static void kill_in_a_write(bool keep)
{
	struct ofi_order order;
	struct ofi_reply reply;

	owner = fork_child(own, &keep);
	assert_true(receive_message(owner.fd, &order, sizeof(order)));
	assert_true(send_message(peer.fd, &order, sizeof(order)));
	assert_true(receive_message(peer.fd, &reply, sizeof(reply)));
	assert_int_equal(reply.result, 0);
	kill_child(&owner);
}

/* ----------------------------------------------------------------- afterwards */

static struct daxpin_extent extents[EXTENTS_MAX];

/* The next owner stores to each free run of BYTES, and so to the extent of the grant,
 * which is free after the death. Returns how many bytes of them change then. */
static uint64_t count_late(void)
{
	struct ofi_order order = { .type = OFI_STOP };
	const uint64_t end = daxpin_deadline_ms(LATE_MS);
	struct ofi_reply reply;
	uint64_t late = 0;
	size_t count = 0;

	while (count < EXTENTS_MAX &&
	       !daxpin_reserve(fix.pool, BYTES, 0, &extents[count]))
		memset(daxpin_ptr(fix.pool, extents[count++], 0), NEXT, BYTES);
	assert_true(count > 0);
	while (daxpin_deadline_ms(0) < end)
		poll(NULL, 0, LATE_MS);
	assert_true(send_message(peer.fd, &order, sizeof(order)));
	assert_true(receive_message(peer.fd, &reply, sizeof(reply)));
	while (count--) {
		const unsigned char *at = daxpin_ptr(fix.pool, extents[count], 0);

		for (size_t i = 0; i < BYTES; i++)
			late += at[i] != NEXT;
		assert_int_equal(daxpin_cancel(fix.pool, extents[count]), 0);
	}
	return late;
}

/* A process of its own, because libfabric reads its environment once. */
static int attach_cached(void *arg)
{
	struct daxpin_ofi_options options = {
		.size = sizeof(options),
		.errmsg = fix.errmsg, .errmsg_size = sizeof(fix.errmsg),
	};
	struct daxpin_ofi *ofi;

	(void)arg;
	setenv("FI_MR_CACHE_MAX_COUNT", "1024", 1);
	assert_int_equal(open_pool(HANG_MS), 0);
	assert_int_equal(open_provider(OFI_VERBS), 0);
	assert_false(lacks_provider());
	assert_int_equal(daxpin_ofi_attach(fix.pool, fabric, info, &options, &ofi),
			 -EOPNOTSUPP);
	print_message("# \"%s\"\n", fix.errmsg);
	assert_non_null(strstr(fix.errmsg, "set FI_MR_CACHE_MAX_COUNT=0"));
	assert_int_equal(daxpin_pool_close(fix.pool), 0);
	return 0;
}

static void with_a_registration_cache_an_attach_is_refused(void **state)
{
	(void)state;
	assert_int_equal(run_child(attach_cached, NULL), 0);
}

static void after_a_kill_no_byte_arrives(void **state)
{
	(void)state;
	for (int i = 0; i < KILLS; i++) {
		kill_in_a_write(false);
		if (open_pool(HANG_MS))
			fail_msg("%s", fix.errmsg);
		assert_int_equal(count_late(), 0);
		assert_int_equal(daxpin_pool_close(fix.pool), 0);
	}
}

static void an_open_waits_for_the_context_of_a_dead_owner(void **state)
{
	(void)state;
	assert_int_equal(pipe2(release, O_CLOEXEC), 0);
	kill_in_a_write(true);
	assert_int_equal(open_pool(0), -EBUSY);
	print_message("# \"%s\"\n", fix.errmsg);
	assert_non_null(strstr(fix.errmsg, "verbs context"));
	assert_non_null(strstr(fix.errmsg, OFI_DEVICE));
	assert_int_equal(write(release[1], "", 1), 1);
	if (open_pool(HANG_MS))
		fail_msg("%s", fix.errmsg);
	assert_int_equal(count_late(), 0);
	assert_int_equal(daxpin_pool_close(fix.pool), 0);
	close(release[0]);
	close(release[1]);
}

/* ------------------------------------------------------------- the program */

static int setup(void **state)
{
	(void)state;
	fix.options = (struct daxpin_pool_options) {
		.size = sizeof(fix.options), .flags = DAXPIN_POOL_OVERWRITE,
		.errmsg = fix.errmsg, .errmsg_size = sizeof(fix.errmsg),
		.pool_size = device ? 0 : 64 << 20,
		.segment_size = device ? DAXPIN_SEGMENT_DEFAULT : 32 << 20,
	};
	snprintf(directory, sizeof(directory), "/dev/shm/daxpin-test-XXXXXX");
	if (!device && !mkdtemp(directory))
		return -1;
	snprintf(fix.path, sizeof(fix.path), "%s", device ? device : directory);
	if (!ofi_add_device())
		return -1;
	peer = ofi_peer_start(OFI_VERBS);
	if (daxpin_pool_create(fix.path, &fix.options, &fix.pool)) {
		print_message("# %s\n", fix.errmsg);
		return -1;
	}
	return daxpin_pool_close(fix.pool);
}

static int teardown(void **state)
{
	if (peer.pid)
		stop_child(&peer);
	ofi_remove_device();
	(void)state;
	if (!device)
		nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(with_a_registration_cache_an_attach_is_refused),
		cmocka_unit_test(after_a_kill_no_byte_arrives),
		cmocka_unit_test(an_open_waits_for_the_context_of_a_dead_owner),
	};

	if (!getenv("DAXPIN_TEST_RDMA")) {
		printf("# needs a machine of the lab, where it makes an RDMA device\n");
		return 77;
	}
	if (argc > 1 && !strcmp(argv[1], "devdax"))
		device = getenv("DAXPIN_TEST_DAX");
	return cmocka_run_group_tests(tests, setup, teardown);
}
