/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pins of a ublk device in a pool's memory (daxpin(7), "Pins of other kernel objects").
 * They continue after the server was killed, although the owner lock does not. They end
 * when the ublk device is deleted, and if a process has the device open, when it is
 * closed. `daxpin doctor` reports both.
 */
#include "../../examples/nbd-cache/ublk_driver.h"
#include "media.h"
#include "pins.h"

/* Of Linux 7.1. */
#ifndef UBLK_F_SHMEM_ZC
#define UBLK_F_SHMEM_ZC		(1ull << 19)
#endif
#ifndef UBLK_U_CMD_REG_BUF
#define UBLK_U_CMD_REG_BUF	_IOWR('u', 0x18, struct ublksrv_ctrl_cmd)
#endif

struct memory {
	uint64_t addr, size;
	uint32_t flags, reserved;
};

#define NO_DEVICE	"the machine has no ublk device, so none has this memory pinned"

#define HANG_S		600		/* limit of a wait that must end */

static long long pins_before;
/* The test's ublk device and its open file, or -1. The teardown ends what is left. */
static int ublk_number = -1, ublk_fd = -1;

static void need_shared_memory(void)
{
	uint64_t features = 0;
	int ret = ublk_control(UBLK_U_CMD_GET_FEATURES, UINT32_MAX, &features,
			       sizeof(features), 0);

	if (!ret && features & UBLK_F_SHMEM_ZC)
		return;
	print_message("# skipped: %s\n", ret == -ENOENT ?
		      "this kernel has no ublk driver" :
		      "this kernel's ublk has no UBLK_F_SHMEM_ZC (Linux 7.1)");
	skip();
}

static int device_setup(void **state)
{
	const char *path = getenv("DAXPIN_TEST_DAX");
	struct fixture *f = calloc(1, sizeof(*f));

	if (!path || !f)
		return -1;
	snprintf(f->path, sizeof(f->path), "%s", path);
	f->options = (struct daxpin_pool_options) {
		.size = sizeof(f->options),
		.errmsg = f->errmsg, .errmsg_size = sizeof(f->errmsg),
	};
	*state = f;
	return 0;
}

/*
 * In the child: makes a ublk device that has pinned an extent of the pool. Returns its
 * number.
 */
static int serve(struct fixture *f)
{
	struct ublksrv_ctrl_dev_info device = {
		.nr_hw_queues = 1, .queue_depth = 8, .max_io_buf_bytes = 1 << 20,
		.dev_id = UINT32_MAX, .ublksrv_pid = getpid(),
		.flags = UBLK_F_SHMEM_ZC | UBLK_F_USER_RECOVERY,
	};
	struct memory memory = { .size = 4 * MIB };
	int ret = daxpin_pool_open(f->path, &f->options, &f->pool);

	if (ret)
		return ret;
	memory.addr = (uintptr_t)daxpin_ptr(f->pool, live(f, memory.size), 0);
	ret = ublk_control(UBLK_U_CMD_ADD_DEV, UINT32_MAX, &device, sizeof(device),
			   0);
	if (ret)
		return ret;
	ret = ublk_control(UBLK_U_CMD_REG_BUF, device.dev_id, &memory,
			   sizeof(memory), 0);
	return ret < 0 ? ret : (int)device.dev_id;
}

/* Returns what `daxpin doctor` prints about it. */
static bool doctor_says(struct fixture *f, const char *words)
{
	char program[256], command[700], line[600];
	ssize_t size = readlink("/proc/self/exe", program, sizeof(program) - 1);
	bool found = false;
	FILE *output;

	assert_true(size > 0);
	program[size] = '\0';
	*strstr(program, "/tests/lab/") = '\0';
	snprintf(command, sizeof(command), "%s/tools/daxpin doctor %s",
		 program, f->path);
	output = popen(command, "r");
	assert_non_null(output);
	while (fgets(line, sizeof(line), output))
		found |= strstr(line, words) != NULL;
	pclose(output);
	return found;
}

/* Kills a server that has pinned memory of a new pool, and sets ublk_number. */
static void kill_a_server(struct fixture *f)
{
	struct child child;

	need_shared_memory();
	f->options.flags = DAXPIN_POOL_OVERWRITE;
	create_pool(f);
	close_pool(f);
	f->options.flags = 0;
	assert_true(doctor_says(f, NO_DEVICE));
	child = start_child(f, serve, NULL);
	kill_child(&child);
	if (child.result < 0)
		fail_msg("ublk: %s", strerror(-child.result));
	ublk_number = child.result;
}

/* UBLK_U_CMD_DEL_DEV waits until the device is closed, the other one does not. */
static void delete_device(uint32_t how)
{
	assert_int_equal(ublk_control(how, ublk_number, NULL, 0, 0), 0);
	ublk_number = -1;
}

/* The lock is free and the pool opens, but its memory is still pinned. */
static void assert_pinned(struct fixture *f)
{
	open_pool(f);
	assert_true(pool_info(f).unclean);
	close_pool(f);
	assert_true(pinned_pages() > pins_before);
}

/* The kernel frees the rings of `daxpin doctor` after that process has ended. */
static void await_unpinned(struct fixture *f)
{
	for (int s = 0; s < HANG_S && pinned_pages() != pins_before; s++)
		sleep(1);
	assert_true(pins_are_back(pins_before));
	assert_true(doctor_says(f, NO_DEVICE));
}

static void pins_of_a_killed_server_last_until_its_device_is_deleted(void **state)
{
	struct fixture *f = *state;

	kill_a_server(f);
	assert_pinned(f);
	assert_true(doctor_says(f, "1 ublk device(s): the kernel does not show which memory they have pinned"));
	delete_device(UBLK_U_CMD_DEL_DEV);
	await_unpinned(f);
}

static void close_device(void)
{
	if (ublk_fd >= 0)
		close(ublk_fd);
	ublk_fd = -1;
}

static void pins_of_a_deleted_device_last_until_it_is_closed(void **state)
{
	struct fixture *f = *state;
	char path[32];

	kill_a_server(f);
	snprintf(path, sizeof(path), "/dev/ublkc%d", ublk_number);
	ublk_fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(ublk_fd >= 0);
	delete_device(UBLK_U_CMD_DEL_DEV_ASYNC);
	assert_int_equal(access(path, F_OK), -1);
	assert_pinned(f);
	assert_true(doctor_says(f, "1 file(s) of the driver are open: a deleted device keeps its pins until it is closed"));
	close_device();
	await_unpinned(f);
}

static int device_teardown(void **state)
{
	close_device();
	if (ublk_number >= 0)
		ublk_control(UBLK_U_CMD_DEL_DEV_ASYNC, ublk_number, NULL, 0, 0);
	ublk_number = -1;
	free(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			pins_of_a_killed_server_last_until_its_device_is_deleted,
			device_setup, device_teardown),
		cmocka_unit_test_setup_teardown(
			pins_of_a_deleted_device_last_until_it_is_closed,
			device_setup, device_teardown),
	};

	if (!getenv("DAXPIN_TEST_DAX")) {
		printf("DAXPIN_TEST_DAX is not set\n");
		return 77;
	}
	pins_before = pinned_pages();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
