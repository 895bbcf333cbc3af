/* SPDX-License-Identifier: BSD-3-Clause */
#include "ublk_driver.h"
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <string.h>
#include <unistd.h>

static int send_command(struct io_uring *ring, int fd, uint32_t command,
			const struct ublksrv_ctrl_cmd *with)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	struct io_uring_cqe *cqe;
	int ret;

	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, fd, NULL, 0, command);
	memcpy(sqe->cmd, with, sizeof(*with));
	ret = io_uring_submit(ring);
	if (ret < 0)
		return ret;
	do {
		ret = io_uring_wait_cqe(ring, &cqe);
	} while (ret == -EINTR);
	return ret ? ret : cqe->res;
}

int ublk_control(uint32_t command, uint32_t device, const void *with, uint16_t size,
		 uint64_t data)
{
	const struct ublksrv_ctrl_cmd about = {
		.dev_id = device, .queue_id = UINT16_MAX, .len = size,
		.addr = (uintptr_t)with, .data = { data },
	};
	struct io_uring ring;
	int ret, fd = open(UBLK_CONTROL, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	ret = io_uring_queue_init(1, &ring, IORING_SETUP_SQE128);
	if (!ret) {
		ret = send_command(&ring, fd, command, &about);
		io_uring_queue_exit(&ring);
	}
	close(fd);
	return ret;
}
