"""Layers, initial values and losses."""

from minigen.nn import init, losses
from minigen.nn.activations import ELU, LeakyReLU, ReLU, Sigmoid, Softplus, Tanh
from minigen.nn.container import Flatten, Reshape, Sequential
from minigen.nn.conv import AvgPool2d, Conv2d, ConvTranspose2d, MaxPool2d
from minigen.nn.dense import Dense
from minigen.nn.dropout import Dropout
from minigen.nn.losses import bce_with_logits, cross_entropy, l1, squared_error
from minigen.nn.module import Module
from minigen.nn.norm import BatchNorm, LayerNorm
from minigen.nn.pixel_lstm import DiagonalBiLSTM, RowLSTM
from minigen.nn.recurrent import LSTM, LSTMCell, detach

__all__ = [
    "ELU",
    "LSTM",
    "AvgPool2d",
    "BatchNorm",
    "Conv2d",
    "ConvTranspose2d",
    "Dense",
    "DiagonalBiLSTM",
    "Dropout",
    "Flatten",
    "LSTMCell",
    "LayerNorm",
    "LeakyReLU",
    "MaxPool2d",
    "Module",
    "ReLU",
    "Reshape",
    "RowLSTM",
    "Sequential",
    "Sigmoid",
    "Softplus",
    "Tanh",
    "bce_with_logits",
    "cross_entropy",
    "detach",
    "init",
    "l1",
    "losses",
    "squared_error",
]
