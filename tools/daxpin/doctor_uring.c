/* SPDX-License-Identifier: BSD-3-Clause */
/* Which parts of io_uring are available, in general and on this memory. */
#include <errno.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>
#include "doctor.h"
#include "doctor_ring.h"

#define ENTRIES		8
#define SLOTS		16384u		/* the kernel's own limit */
/* IORING_OP_FTRUNCATE, of Linux 6.9; the headers may be older. */
#define OP_FTRUNCATE	55

uint64_t ring_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000ull + now.tv_nsec / 1000000;
}

bool ring_await(struct io_uring *ring, uint64_t user_data, unsigned int ms,
		int *ret_result)
{
	uint64_t now = ring_now_ms(), end = now + ms;
	struct io_uring_cqe *cqe;

	do {
		uint64_t left = now < end ? end - now : 0;
		struct __kernel_timespec wait = {
			.tv_sec = left / 1000,
			.tv_nsec = left % 1000 * 1000000,
		};
		bool found;

		if (!io_uring_wait_cqe_timeout(ring, &cqe, &wait)) {
			found = cqe->user_data == user_data;
			if (found)
				*ret_result = cqe->res;
			io_uring_cqe_seen(ring, cqe);
			if (found)
				return true;
		}
		now = ring_now_ms();
	} while (now < end);
	return false;
}

/* ---------------------------------------------------------- is there a ring */

static const char *ring_remedy(int error)
{
	if (error == -EPERM)
		return "sysctl kernel.io_uring_disabled=0, or let the container's seccomp profile pass io_uring";
	if (error == -ENOMEM)
		return "raise RLIMIT_MEMLOCK: this kernel charges rings to it";
	return "use a kernel with CONFIG_IO_URING";
}

/* kernel.io_uring_disabled, which Linux has since 6.6. The text is empty without it. */
static const char *disabled_switch(char text[64])
{
	FILE *file = fopen("/proc/sys/kernel/io_uring_disabled", "re");
	int value;

	text[0] = '\0';
	if (!file)
		return text;
	if (fscanf(file, "%d", &value) == 1)
		snprintf(text, 64, "; kernel.io_uring_disabled is %d", value);
	fclose(file);
	return text;
}

static void report_no_ring(struct doctor *doctor, bool needed, int error)
{
	char text[64];

	doctor_report(doctor, (struct answer) {
		.subject = SUBJECT_URING, .verdict = VERDICT_NO,
		.needed = needed, .remedy = ring_remedy(error),
	}, "refused: %s%s", strerror(-error), disabled_switch(text));
}

static void report_ring(struct doctor *doctor, bool needed)
{
	doctor_report(doctor, (struct answer) {
		.subject = SUBJECT_URING, .verdict = VERDICT_YES,
		.needed = needed,
	}, "a ring was created");
}

/* ------------------------------------------------------------ fixed buffers */

/* 0: a fixed read into the scratch memory has stored the right bytes. */
static int read_fixed(struct io_uring *ring, const struct testbed *testbed)
{
	unsigned char bytes[PAGE];
	struct io_uring_sqe *sqe;
	int ends[2], ret = -EIO;

	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	memset(bytes, 0x5a, sizeof(bytes));
	memset(testbed->base, 0, sizeof(bytes));
	if (write(ends[1], bytes, sizeof(bytes)) != (ssize_t)sizeof(bytes))
		goto close;
	sqe = io_uring_get_sqe(ring);
	io_uring_prep_read_fixed(sqe, ends[0], testbed->base, sizeof(bytes), 0,
				 0);
	sqe->user_data = 1;
	io_uring_submit(ring);
	if (!ring_await(ring, 1, WAIT_LIMIT_MS, &ret))
		ret = -ETIMEDOUT;
	if (ret >= 0)
		ret = memcmp(testbed->base, bytes, sizeof(bytes)) ? -EIO : 0;
close:
	close(ends[0]);
	close(ends[1]);
	return ret;
}

static int try_fixed(struct io_uring *ring, const struct testbed *testbed)
{
	struct iovec iov = { testbed->base, CHUNK };
	int ret = io_uring_register_buffers(ring, &iov, 1);

	if (ret)
		return ret;
	/* The command must not store to a device. */
	if (testbed->scratch)
		ret = read_fixed(ring, testbed);
	io_uring_unregister_buffers(ring);
	return ret;
}

static const char *fixed_remedy(const struct place *place, int error)
{
	if (error == -ENOMEM)
		return "raise RLIMIT_MEMLOCK, or give CAP_IPC_LOCK";
	if (place->source == DAXPIN_SOURCE_FSDAX)
		return "rings are attached without fixed buffers on a DAX filesystem; use device-dax for those";
	if (place->source == DAXPIN_SOURCE_DEVDAX)
		return "use Linux 6.5 or later; before, rings are attached without fixed buffers";
	return NULL;
}

static void report_fixed(struct doctor *doctor, struct io_uring *ring, bool needed)
{
	const struct testbed *testbed = &doctor->testbed;
	struct answer answer = {
		.subject = SUBJECT_FIXED_BUFFERS, .needed = needed,
	};
	int ret;

	if (!testbed->base) {
		doctor_report_no_testbed(doctor, answer.subject, needed);
		return;
	}
	ret = try_fixed(ring, testbed);
	if (ret) {
		answer.verdict = VERDICT_NO;
		answer.remedy = fixed_remedy(&doctor->place, ret);
		doctor_report(doctor, answer, "2 MiB were refused: %s",
			      strerror(-ret));
		return;
	}
	answer.verdict = VERDICT_YES;
	doctor_report(doctor, answer, testbed->scratch ?
		      "2 MiB were registered, and a read into them arrived" :
		      "2 MiB were registered, and nothing was stored to them");
}

static void report_slots(struct doctor *doctor, struct io_uring *ring)
{
	struct answer answer = {
		.subject = SUBJECT_SLOTS, .verdict = VERDICT_YES,
		.needed = true,
	};
	int ret = io_uring_register_buffers_sparse(ring, SLOTS);

	if (!ret) {
		io_uring_unregister_buffers(ring);
		doctor_report(doctor, answer,
			      "a table of %u slots was created; a pool needs one slot for each segment, %u at most",
			      SLOTS, DAXPIN_SEGMENTS_MAX);
		return;
	}
	/* Kernels before 5.19 cannot create an empty table. */
	answer.verdict = ret == -EINVAL ? VERDICT_UNKNOWN : VERDICT_NO;
	answer.remedy = ret == -EINVAL ? "use Linux 5.19 or later, where this can be tried" :
		"raise RLIMIT_MEMLOCK, or the memory of the cgroup";
	doctor_report(doctor, answer, "a table of %u slots was refused: %s", SLOTS,
		      strerror(-ret));
}

/* ------------------------------------------- the barrier of an open (fsdax) */

static int try_ftruncate(struct io_uring *ring, int fd)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	struct stat st;
	int ret;

	if (fstat(fd, &st))
		return -errno;
	io_uring_prep_nop(sqe);
	sqe->opcode = OP_FTRUNCATE;
	sqe->fd = fd;
	sqe->off = st.st_size;
	sqe->user_data = 1;
	io_uring_submit(ring);
	return ring_await(ring, 1, WAIT_LIMIT_MS, &ret) ? ret : -ETIMEDOUT;
}

/* Before Linux 6.9 an open uses another operation on these filesystems:
 * lib/owner/barrier.c. */
static bool has_other_barrier(int fd)
{
	struct statfs fs;

	return !fstatfs(fd, &fs) && (fs.f_type == XFS_SUPER_MAGIC ||
				     fs.f_type == EXT4_SUPER_MAGIC);
}

static void report_barrier(struct doctor *doctor, struct io_uring *ring)
{
	struct answer answer = {
		.subject = SUBJECT_BARRIER, .verdict = VERDICT_YES,
		.needed = true,
	};
	int ret;

	if (doctor->testbed.fd < 0) {
		doctor_report_no_testbed(doctor, answer.subject, true);
		return;
	}
	ret = try_ftruncate(ring, doctor->testbed.fd);
	if (!ret) {
		doctor_report(doctor, answer,
			      "a scratch file was truncated to its size by the ring");
		return;
	}
	if (ret == -EINVAL && has_other_barrier(doctor->testbed.fd)) {
		doctor_report(doctor, answer,
			      "the ring does not truncate (Linux 6.9 and later): fallocate() past the end of each file is used instead");
		return;
	}
	answer.verdict = VERDICT_NO;
	answer.remedy = "use Linux 6.9 or later; before, a program that opens the pool after a crash needs DAXPIN_NO_DEADLINE and no progress function, and its wait has no limit";
	doctor_report(doctor, answer, "ftruncate by the ring was refused: %s",
		      strerror(-ret));
}

static void report_all(struct doctor *doctor, struct io_uring *ring)
{
	enum daxpin_source source = doctor->place.source;
	bool fixed = source == DAXPIN_SOURCE_DEVDAX ||
		     source == DAXPIN_SOURCE_SHMEM;

	report_ring(doctor, source != DAXPIN_SOURCE_DISK);
	report_fixed(doctor, ring, fixed);
	if (fixed)
		report_slots(doctor, ring);
	if (source == DAXPIN_SOURCE_FSDAX)
		report_barrier(doctor, ring);
}

void doctor_uring(struct doctor *doctor)
{
	enum daxpin_source source = doctor->place.source;
	struct io_uring ring;
	int ret = io_uring_queue_init(ENTRIES, &ring, 0);

	if (ret) {
		report_no_ring(doctor, source != DAXPIN_SOURCE_DISK, ret);
		return;
	}
	report_all(doctor, &ring);
	io_uring_queue_exit(&ring);
	if (source == DAXPIN_SOURCE_FSDAX || source == DAXPIN_SOURCE_SHMEM)
		doctor_punch(doctor);
}
