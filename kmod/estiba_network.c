// SPDX-License-Identifier: GPL-2.0-only
/* Traffic of a container's network namespace. */
#include <linux/netdevice.h>
#include <linux/nsproxy.h>
#include <linux/sched/task.h>
#include <net/net_namespace.h>

#include "estiba.h"

static struct net *net_of(struct task_struct *p)
{
	struct net *net = NULL;

	task_lock(p);
	/* An exiting task has none any more. */
	if (p->nsproxy)
		net = get_net(p->nsproxy->net_ns);
	task_unlock(p);
	return net;
}

/*
 * estiba_network_read - sums the interfaces of the first process's namespace,
 * without loopback. In the host's own namespace nothing is the container's.
 */
void estiba_network_read(struct estiba_container *c, u64 now)
{
	u64 rx_bytes = 0, tx_bytes = 0, rx_packets = 0, tx_packets = 0;
	struct net_device *dev;
	struct net *net;

	if (!c->init)
		return;
	net = net_of(c->init);
	if (!net)
		return;
	if (net == &init_net) {
		c->network = ESTIBA_NETWORK_HOST;
		put_net(net);
		return;
	}
	rcu_read_lock();
	for_each_netdev_rcu(net, dev) {
		struct rtnl_link_stats64 s;

		if (dev->flags & IFF_LOOPBACK)
			continue;
		dev_get_stats(dev, &s);
		rx_bytes += s.rx_bytes;
		tx_bytes += s.tx_bytes;
		rx_packets += s.rx_packets;
		tx_packets += s.tx_packets;
	}
	rcu_read_unlock();
	put_net(net);
	c->network = ESTIBA_NETWORK_OWN;
	counter_feed(&c->net_rx_bytes, rx_bytes, now);
	counter_feed(&c->net_tx_bytes, tx_bytes, now);
	counter_feed(&c->net_rx_packets, rx_packets, now);
	counter_feed(&c->net_tx_packets, tx_packets, now);
}
