/* SPDX-License-Identifier: BSD-3-Clause */
/* ublk_stop N: stops the ublk device N, whose server is another process. */
#include "../../examples/nbd-cache/ublk_driver.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
	int ret = argc == 2 ? ublk_control(UBLK_U_CMD_STOP_DEV, atoi(argv[1]), NULL,
					   0, 0) : -1;

	if (ret)
		fprintf(stderr, "ublk_stop: %s\n", strerror(-ret));
	return ret ? 1 : 0;
}
