"""stub"""

from specs.api_v1 import View


class PoolView(View):
    """stub"""


class WorkerView(View):
    """stub"""
