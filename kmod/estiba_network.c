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

/* Interfaces looked at before others get the CPU. */
#define DEVICES_BATCH 64

/*
 * Leaves RCU and comes back. False if dev is no longer in the list, so that
 * there is no way on from it. Who may make interfaces can make any number.
 */
static bool rest_at(struct net_device *dev)
{
	bool there;

	dev_hold(dev);
	rcu_read_unlock();
	cond_resched();
	rcu_read_lock();
	/* What is in the list now stays reachable until RCU is left. */
	there = dev->reg_state == NETREG_REGISTERED;
	dev_put(dev);
	return there;
}

/*
 * estiba_network_read - sums the interfaces of the first process's namespace,
 * without loopback. In the host's own namespace nothing is the container's.
 */
void estiba_network_read(struct estiba_container *c, u64 now)
{
	u64 rx_bytes = 0, tx_bytes = 0, rx_packets = 0, tx_packets = 0;
	unsigned int looked = 0;
	struct net_device *dev;
	bool whole = true;
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
		if (++looked % DEVICES_BATCH == 0 && !rest_at(dev)) {
			whole = false;
			break;
		}
	}
	rcu_read_unlock();
	put_net(net);
	c->network = ESTIBA_NETWORK_OWN;
	/* Half a sum would look like a fall. */
	if (!whole)
		return;
	counter_feed(&c->net_rx_bytes, rx_bytes, now);
	counter_feed(&c->net_tx_bytes, tx_bytes, now);
	counter_feed(&c->net_rx_packets, rx_packets, now);
	counter_feed(&c->net_tx_packets, tx_packets, now);
}
