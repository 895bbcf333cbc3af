/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ublk_stop N: stops the ublk device N, whose server is another process.
 * ublk_stop N add: adds the ublk device N, as a program does that is not daxpin-ublk.
 */
#include "../../examples/nbd-cache/ublk_driver.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int add(uint32_t number)
{
	struct ublksrv_ctrl_dev_info device = {
		.nr_hw_queues = 1, .queue_depth = 1, .max_io_buf_bytes = 1 << 20,
		.dev_id = number, .ublksrv_pid = getpid(),
		.flags = UBLK_F_USER_RECOVERY | UBLK_F_USER_RECOVERY_REISSUE,
	};

	return ublk_control(UBLK_U_CMD_ADD_DEV, number, &device, sizeof(device), 0);
}

int main(int argc, char **argv)
{
	int ret = -EINVAL;

	if (argc == 2)
		ret = ublk_control(UBLK_U_CMD_STOP_DEV, atoi(argv[1]), NULL, 0, 0);
	else if (argc == 3 && !strcmp(argv[2], "add"))
		ret = add(atoi(argv[1]));
	if (ret)
		fprintf(stderr, "ublk_stop: %s\n", strerror(-ret));
	return ret ? 1 : 0;
}
